package membership

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"portico/internal/durable"
	"portico/internal/pause"
)

const (
	keptName  = "members.json"
	keptMost  = 8               // members; one that answers is enough
	keptPause = 2 * time.Second // members come and go in crowds, and each write waits for the disk
)

// keptMember is one of them. Who is not let in any more is not looked for either: nobody takes its address from the list while there is no other one.
type keptMember struct {
	Name, Fingerprint, Addr string
}

// kept is the list of members known last, so that a restarted member finds the others by itself. Serf would keep one as well, and with it a
// clock that it looks at twice a second for as long as it lives. Its methods are nil-safe: without a folder nothing is kept.
type kept struct {
	path  string
	dirty chan struct{} // capacity 1

	mu   sync.Mutex
	last []keptMember // guarded by mu
}

// openKept reads the list in a folder, which it makes. A list that cannot be read is none.
func openKept(dir string) (*kept, error) {
	if dir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep member list: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, "members.snapshot")); err != nil && !errors.Is(err, fs.ErrNotExist) { // serf's, of a version before
		return nil, fmt.Errorf("keep member list: %w", err)
	}
	k := &kept{path: filepath.Join(dir, keptName), dirty: make(chan struct{}, 1)}
	if b, err := os.ReadFile(k.path); err == nil && json.Unmarshal(b, &k.last) != nil {
		k.last = nil // it may have a part of it
	}
	return k, nil
}

// with returns seeds and beside them the addresses that are kept of members that are admitted.
func (k *kept) with(seeds []string, admits func(name, fingerprint string) bool) []string {
	if k == nil {
		return seeds
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	all := slices.Clone(seeds)
	for _, m := range k.last {
		if admits(m.Name, m.Fingerprint) && !slices.Contains(all, m.Addr) {
			all = append(all, m.Addr)
		}
	}
	return all
}

// changed says that the list may be another one.
func (k *kept) changed() {
	if k == nil {
		return
	}
	select {
	case k.dirty <- struct{}{}:
	default:
	}
}

// run writes what others returns, a moment after it has changed, until ctx ends.
func (k *kept) run(ctx context.Context, others func() []keptMember, log *slog.Logger) {
	if k == nil {
		return
	}
	for {
		select {
		case <-k.dirty:
		case <-ctx.Done():
			select {
			case <-k.dirty:
			default:
				return
			}
		}
		_ = pause.For(ctx, keptPause) // when ctx ends meanwhile it is written all the same
		if err := k.write(others()); err != nil {
			log.Warn("the list of members is not kept: after a restart this member finds the others once a proxy has told it where they are", "error", err)
		}
	}
}

// write keeps a list. An empty one is no news: who is cut off still wants to find the others.
func (k *kept) write(members []keptMember) error {
	members = members[:min(len(members), keptMost)]
	k.mu.Lock()
	same := len(members) == 0 || slices.Equal(members, k.last)
	k.mu.Unlock()
	if same {
		return nil
	}
	b, err := json.Marshal(members)
	if err == nil {
		err = durable.WriteFile(k.path, b, 0o600)
	}
	if err == nil {
		k.mu.Lock()
		k.last = members
		k.mu.Unlock()
	}
	return err
}
