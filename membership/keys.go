package membership

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"portico/internal/pause"
)

// KeyLen is the length of a gossip key in bytes: AES-256.
const KeyLen = 32

// ring is the set of gossip keys, and what it should be: serf lets any holder
// of the key change the keys of all members by a query, which we undo.
type ring struct {
	ring *memberlist.Keyring

	mu   sync.Mutex
	want [][]byte // first is the one that we encrypt with
}

func newRing(keys [][]byte) (*ring, error) {
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	k, err := memberlist.NewKeyring(keys, keys[0])
	if err != nil {
		return nil, fmt.Errorf("take gossip keys: %w", err)
	}
	return &ring{ring: k, want: cloneKeys(keys)}, nil
}

func checkKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return ErrNoKey
	}
	if len(keys) > 8 {
		return fmt.Errorf("take gossip keys: %d of them, the most is 8", len(keys))
	}
	for i, k := range keys {
		if len(k) != KeyLen {
			return fmt.Errorf("take gossip key %d: %d bytes, want %d", i+1, len(k), KeyLen)
		}
		if bytes.Equal(k, make([]byte, KeyLen)) {
			return fmt.Errorf("take gossip key %d: all zeros", i+1)
		}
	}
	return nil
}

func cloneKeys(keys [][]byte) [][]byte {
	out := make([][]byte, len(keys))
	for i, k := range keys {
		out[i] = bytes.Clone(k)
	}
	return out
}

// keys returns the keys that should be in use, the primary one first.
func (r *ring) keys() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.want
}

// set makes keys the ring's: add, use, then remove, so that at no moment a
// message of somebody who is one step ahead or behind is lost.
func (r *ring) set(keys [][]byte) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.want = cloneKeys(keys)
	return r.applyLocked()
}

func (r *ring) applyLocked() error {
	for _, k := range r.want {
		if err := r.ring.AddKey(k); err != nil {
			return fmt.Errorf("add gossip key: %w", err)
		}
	}
	if err := r.ring.UseKey(r.want[0]); err != nil {
		return fmt.Errorf("use gossip key: %w", err)
	}
	for _, k := range cloneKeys(r.ring.GetKeys()) {
		if slices.ContainsFunc(r.want, func(w []byte) bool { return bytes.Equal(w, k) }) {
			continue
		}
		if err := r.ring.RemoveKey(k); err != nil {
			return fmt.Errorf("remove gossip key: %w", err)
		}
	}
	return nil
}

// restore puts the ring right and reports whether somebody had changed it.
func (r *ring) restore() (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	have := r.ring.GetKeys()
	if len(have) == len(r.want) && bytes.Equal(have[0], r.want[0]) &&
		!slices.ContainsFunc(r.want, func(w []byte) bool {
			return !slices.ContainsFunc(have, func(h []byte) bool { return bytes.Equal(h, w) })
		}) {
		return false, nil
	}
	return true, r.applyLocked()
}

// SetKeys changes the keys of this member, the primary one first. Keys come
// over mutual TLS and never by gossip: whoever is being dismissed still hears
// it. To change keys without losing anybody, every member gets [new, old]
// before any gets [new].
func (c *Cluster) SetKeys(keys [][]byte) error {
	if err := c.ring.set(keys); err != nil {
		return err
	}
	c.log.Info("gossip keys set", "keys", len(keys))
	return nil
}

// guardEvery is between two looks at the ring. An agent checks its instances in the same moments.
const guardEvery = 2 * time.Second

// guardKeys undoes changes of the ring that came by gossip.
func (c *Cluster) guardKeys() {
	look := pause.NewTicker(guardEvery)
	defer look.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-look.C:
			look.Next()
		}
		if changed, err := c.ring.restore(); changed {
			c.log.Warn("a member tried to change the gossip keys by gossip: undone", "error", err)
		}
	}
}
