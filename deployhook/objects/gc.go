package objects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// DefaultGrace is how long an object that nothing refers to stays: longer than
// any upload or fetch between its first object and its record in the catalog.
const DefaultGrace = 24 * time.Hour

// GC removes the objects that keep does not want and that are older than grace,
// and reports how many and how many bytes. The age counts from the last time
// that the object was stored, also when it was there already.
func (s *Store) GC(ctx context.Context, keep func(digest string) bool, grace time.Duration) (removed int, freed int64, err error) {
	before := time.Now().Add(-grace)
	err = s.each(func(digest, path string, d fs.DirEntry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		fi, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && fi.ModTime().After(before) || keep(digest) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Remove(digest); err != nil {
			return err
		}
		removed++
		freed += fi.Size()
		return nil
	})
	if err != nil {
		return removed, freed, fmt.Errorf("collect objects: %w", err)
	}
	return removed, freed, nil
}

// each calls visit for every object.
func (s *Store) each(visit func(digest, path string, d fs.DirEntry) error) error {
	dirs, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if !dir.IsDir() || len(dir.Name()) != 2 {
			continue
		}
		list, err := os.ReadDir(filepath.Join(s.dir, dir.Name()))
		if err != nil {
			return err
		}
		for _, d := range list {
			digest := dir.Name() + d.Name()
			if !ValidDigest(digest) {
				continue
			}
			if err := visit(digest, filepath.Join(s.dir, dir.Name(), d.Name()), d); err != nil {
				return err
			}
		}
	}
	return nil
}
