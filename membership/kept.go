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
	keptMost  = 8               // addresses; one that answers is enough
	keptPause = 2 * time.Second // members come and go in crowds, and each write waits for the disk
)

// kept is the list of members known last, so that a restarted member finds the others by itself. Serf would keep one as well, and with it a
// clock that it looks at twice a second for as long as it lives. Its methods are nil-safe: without a folder nothing is kept.
type kept struct {
	path  string
	dirty chan struct{} // capacity 1

	mu    sync.Mutex
	addrs []string // guarded by mu
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
	if b, err := os.ReadFile(k.path); err == nil {
		_ = json.Unmarshal(b, &k.addrs)
	}
	return k, nil
}

// with returns seeds and what is kept beside them.
func (k *kept) with(seeds []string) []string {
	if k == nil {
		return seeds
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	all := slices.Clone(seeds)
	for _, a := range k.addrs {
		if !slices.Contains(all, a) {
			all = append(all, a)
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
func (k *kept) run(ctx context.Context, others func() []string, log *slog.Logger) {
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
func (k *kept) write(addrs []string) error {
	addrs = addrs[:min(len(addrs), keptMost)]
	k.mu.Lock()
	same := len(addrs) == 0 || slices.Equal(addrs, k.addrs)
	k.mu.Unlock()
	if same {
		return nil
	}
	b, err := json.Marshal(addrs)
	if err == nil {
		err = durable.WriteFile(k.path, b, 0o600)
	}
	if err == nil {
		k.mu.Lock()
		k.addrs = addrs
		k.mu.Unlock()
	}
	return err
}
