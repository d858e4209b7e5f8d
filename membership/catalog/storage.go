package catalog

import (
	"context"
	"fmt"
	"strings"
	"time"

	"portico/membership/catalog/store"
)

// Storage keeps sealed values under keys that look like file paths. Reads are
// linearizable: they see what any proxy wrote before, and what this one knew while
// there is no majority. Certificates and their keys live here.
type Storage struct {
	c *Catalog
}

// StorageInfo describes one value.
type StorageInfo struct {
	Key      string
	Modified time.Time
	Size     int64
	Terminal bool // false: key is a folder of others
}

// maxStored is the largest value. A chain with its issuer is a few KiB.
const maxStored = 512 << 10

// Storage returns the catalog's storage for sealed values.
func (c *Catalog) Storage() *Storage { return &Storage{c} }

func storeKey(key string) (string, error) {
	key = strings.Trim(key, "/")
	if key == "" || len(key) > 1024 || strings.Contains(key, "\x00") {
		return "", fmt.Errorf("%w: storage key %.60q", ErrInvalid, key)
	}
	return preStore + key, nil
}

// Put writes value under key. The value is sealed with its key, so neither a
// backup nor the files show it.
func (s *Storage) Put(ctx context.Context, key string, value []byte) error {
	k, err := storeKey(key)
	if err != nil {
		return err
	}
	if len(value) > maxStored {
		return fmt.Errorf("%w: %q has %d bytes, the most is %d", ErrInvalid, key, len(value), maxStored)
	}
	stamped := appendTime(nil, time.Now())
	sealed := s.c.sealer.seal(k, append(stamped, value...))
	_, revision, err := s.c.store.Load().Transact(ctx, nil, []store.Op{store.Put(k, sealed)})
	if err == nil && s.c.memory != nil {
		s.c.memory.Note(store.Item{Key: k, Value: sealed, Revision: revision})
	}
	return err
}

// Get returns the value under key, or ErrNotFound.
func (s *Storage) Get(ctx context.Context, key string) ([]byte, error) {
	value, _, err := s.get(ctx, key)
	return value, err
}

func (s *Storage) get(ctx context.Context, key string) ([]byte, time.Time, error) {
	k, err := storeKey(key)
	if err != nil {
		return nil, time.Time{}, err
	}
	it, found, err := s.c.stored(ctx, k)
	if err != nil {
		return nil, time.Time{}, err
	}
	if !found {
		return nil, time.Time{}, fmt.Errorf("%q: %w", key, ErrNotFound)
	}
	plain, err := s.c.sealer.open(k, it.Value)
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(plain) < 8 {
		return nil, time.Time{}, fmt.Errorf("%w: %q has no time", ErrCorrupt, key)
	}
	return plain[8:], readTime(plain), nil
}

// Delete removes the value under key and all that lie under it as a folder. A key
// that does not exist is no error.
func (s *Storage) Delete(ctx context.Context, key string) error {
	k, err := storeKey(key)
	if err != nil {
		return err
	}
	_, _, err = s.c.store.Load().Transact(ctx, nil, []store.Op{
		store.Delete(k),
		store.DeleteUnder(k + "/"),
	})
	return err
}

// List returns the keys under a folder, sorted; "" is the root. Unless recursive, a deeper
// folder is named once, without what it holds. An empty or unknown folder has none.
func (s *Storage) List(ctx context.Context, folder string, recursive bool) ([]string, error) {
	prefix := preStore
	if folder = strings.Trim(folder, "/"); folder != "" {
		prefix += folder + "/"
	}
	items, err := s.c.storedUnder(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, it := range items {
		key := strings.TrimPrefix(it.Key, preStore)
		if !recursive {
			rest := strings.TrimPrefix(it.Key, prefix)
			first, _, _ := strings.Cut(rest, "/")
			key = key[:len(key)-len(rest)] + first
		}
		if len(out) == 0 || out[len(out)-1] != key {
			out = append(out, key)
		}
	}
	return out, nil
}

// Stat describes the value under key or, if there is none, the folder of that
// name; else it returns ErrNotFound.
func (s *Storage) Stat(ctx context.Context, key string) (StorageInfo, error) {
	value, at, err := s.get(ctx, key)
	if err == nil {
		return StorageInfo{Key: key, Modified: at, Size: int64(len(value)), Terminal: true}, nil
	}
	keys, lerr := s.List(ctx, key, true)
	if lerr == nil && len(keys) > 0 {
		return StorageInfo{Key: key}, nil
	}
	return StorageInfo{}, err
}

// Lock takes the cluster-wide lock called name; see Catalog.Lock, whose names are
// apart from these.
func (s *Storage) Lock(ctx context.Context, name string) (unlock func(), err error) {
	return s.c.store.Load().Lock(ctx, "store/"+name)
}

func appendTime(b []byte, t time.Time) []byte {
	n := uint64(t.UnixNano())
	return append(b, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func readTime(b []byte) time.Time {
	var n uint64
	for _, c := range b[:8] {
		n = n<<8 | uint64(c)
	}
	return time.Unix(0, int64(n)).UTC()
}
