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
	snapshotName  = "members.json"
	snapshotMost  = 8               // members; one that answers is enough
	snapshotPause = 2 * time.Second // members come and go in crowds, and each write waits for the disk
)

// snapshotMember is a member of the list. The address of one that is not admitted any more stays, unused, until another list is written.
type snapshotMember struct {
	Name, Fingerprint, Addr string
}

// snapshot is the list of members known last, so that a restarted member finds the others by itself. Serf would keep one as well, and with
// it a clock that it looks at twice a second for as long as it lives. Its methods are nil-safe: without a folder nothing is kept.
type snapshot struct {
	path  string
	dirty chan struct{} // capacity 1

	mu   sync.Mutex
	last []snapshotMember // guarded by mu
}

// openSnapshot reads the list in a folder, which it makes. A list that cannot be read is none.
func openSnapshot(dir string) (*snapshot, error) {
	if dir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep member list: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, "members.snapshot")); err != nil && !errors.Is(err, fs.ErrNotExist) { // serf's, of a version before
		return nil, fmt.Errorf("keep member list: %w", err)
	}
	s := &snapshot{path: filepath.Join(dir, snapshotName), dirty: make(chan struct{}, 1)}
	if b, err := os.ReadFile(s.path); err == nil && json.Unmarshal(b, &s.last) != nil {
		s.last = nil // it may have a part of it
	}
	return s, nil
}

// with returns seeds and beside them the addresses that are kept of members that are admitted.
func (s *snapshot) with(seeds []string, admits func(name, fingerprint string) bool) []string {
	if s == nil {
		return seeds
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(seeds)
	for _, m := range s.last {
		if admits(m.Name, m.Fingerprint) && !slices.Contains(all, m.Addr) {
			all = append(all, m.Addr)
		}
	}
	return all
}

// changed says that the list may be another one.
func (s *snapshot) changed() {
	if s == nil {
		return
	}
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

// run writes what others returns, a moment after it has changed, until ctx ends.
func (s *snapshot) run(ctx context.Context, others func() []snapshotMember, log *slog.Logger) {
	if s == nil {
		return
	}
	for {
		select {
		case <-s.dirty:
		case <-ctx.Done():
			select {
			case <-s.dirty:
			default:
				return
			}
		}
		_ = pause.For(ctx, snapshotPause) // when ctx ends meanwhile it is written all the same
		if err := s.write(others()); err != nil {
			log.Warn("the list of members is not kept: after a restart this member finds the others once a proxy has told it where they are", "error", err)
		}
	}
}

// write keeps a list. An empty one is no news: who is cut off still wants to find the others.
func (s *snapshot) write(members []snapshotMember) error {
	members = members[:min(len(members), snapshotMost)]
	s.mu.Lock()
	same := len(members) == 0 || slices.Equal(members, s.last)
	s.mu.Unlock()
	if same {
		return nil
	}
	b, err := json.Marshal(members)
	if err == nil {
		err = durable.WriteFile(s.path, b)
	}
	if err == nil {
		s.mu.Lock()
		s.last = members
		s.mu.Unlock()
	}
	return err
}
