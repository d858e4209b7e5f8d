package certs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/caddyserver/certmagic"

	"portico/membership/catalog"
)

// storage keeps what certmagic stores in the catalog: sealed, replicated, and
// read linearizably, because a stale answer would make it ask for certificates that another
// proxy has just got.
type storage struct {
	s *catalog.Storage

	mu     sync.Mutex
	unlock map[string]func() // of the locks that this process has
}

func newStorage(c *catalog.Catalog) *storage {
	return &storage{s: c.Storage(), unlock: map[string]func(){}}
}

// notExist says "not found" in certmagic's words.
func notExist(err error) error {
	if errors.Is(err, catalog.ErrNotFound) {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}

func (s *storage) Store(ctx context.Context, key string, value []byte) error {
	return s.s.Put(ctx, key, value)
}

func (s *storage) Load(ctx context.Context, key string) ([]byte, error) {
	value, err := s.s.Get(ctx, key)
	return value, notExist(err)
}

func (s *storage) Delete(ctx context.Context, key string) error { return s.s.Delete(ctx, key) }

func (s *storage) Exists(ctx context.Context, key string) bool {
	_, err := s.s.Stat(ctx, key)
	return err == nil
}

func (s *storage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	keys, err := s.s.List(ctx, path, recursive)
	if err == nil && len(keys) == 0 {
		err = fs.ErrNotExist
	}
	return keys, err
}

func (s *storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	i, err := s.s.Stat(ctx, key)
	return certmagic.KeyInfo{Key: i.Key, Modified: i.Modified, Size: i.Size, IsTerminal: i.Terminal}, notExist(err)
}

// Lock takes a lock that lives as long as this process does, so it needs no
// renewal.
func (s *storage) Lock(ctx context.Context, name string) error {
	unlock, err := s.s.Lock(ctx, name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.unlock[name] = unlock
	s.mu.Unlock()
	return nil
}

// Unlock gives a lock back, also when ctx has ended.
func (s *storage) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	unlock := s.unlock[name]
	delete(s.unlock, name)
	s.mu.Unlock()
	if unlock == nil {
		return fmt.Errorf("unlock %q: it is not locked here", name)
	}
	unlock()
	return nil
}
