package objects

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Batch stores many objects with few flushes: each Add writes a temporary file,
// Commit flushes all of them together, renames them and flushes each folder
// once. Nothing can be seen before Commit. It is safe for concurrent use.
type Batch struct {
	s *Store

	mu      sync.Mutex
	pending map[string]string // digest to temporary file
	closed  bool
}

// NewBatch begins a batch. Close must be called, also after Commit.
func (s *Store) NewBatch() *Batch {
	return &Batch{s: s, pending: make(map[string]string)}
}

// Add writes what r delivers and returns its digest and length. Content that
// the store or the batch has already is not kept twice.
func (b *Batch) Add(r io.Reader) (digest string, size int64, err error) {
	return b.add(r, "")
}

// AddVerified is Add for content whose digest is known; other content is
// refused with ErrCorrupt.
func (b *Batch) AddVerified(digest string, r io.Reader) error {
	if !ValidDigest(digest) {
		return ErrBadDigest
	}
	_, _, err := b.add(r, digest)
	return err
}

func (b *Batch) add(r io.Reader, want string) (string, int64, error) {
	t, err := b.s.newTemporary()
	if err != nil {
		return "", 0, err
	}
	if _, err := io.Copy(t, r); err != nil {
		t.discard()
		return "", 0, fmt.Errorf("put object: %w", err)
	}
	return b.take(t, want)
}

// take makes a finished temporary file part of the batch.
func (b *Batch) take(t *temporary, want string) (string, int64, error) {
	digest, size := t.digest(), t.size
	if want != "" && digest != want {
		t.discard()
		return "", 0, fmt.Errorf("put object: %w: %s was wanted, %s came", ErrCorrupt, want, digest)
	}
	if err := t.f.Close(); err != nil {
		t.discard()
		return "", 0, fmt.Errorf("put object: %w", disk(err))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	_, twice := b.pending[digest]
	if b.closed || twice || b.s.held(digest, size) {
		t.discard()
		if b.closed {
			return "", 0, errors.New("put object: the batch is closed")
		}
		return digest, size, nil
	}
	b.pending[digest] = t.f.Name()
	return digest, size, nil
}

// held reports whether the store has the object at its full length, and renews
// its age. A short file (a disk that lost its tail) is written again.
func (s *Store) held(digest string, size int64) bool {
	have, err := s.Size(digest)
	return err == nil && have == size && s.touch(digest)
}

// Commit makes all objects of the batch durable and visible. After an error
// none, some or all of them may be there, each of them whole.
func (b *Batch) Commit() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errors.New("commit objects: the batch is closed")
	}
	files := make([]string, 0, len(b.pending))
	for _, name := range b.pending {
		files = append(files, name)
	}
	if err := flushMany(b.s.tmp, files); err != nil {
		return fmt.Errorf("commit objects: flush: %w", disk(err))
	}
	dirs := make(map[string]bool)
	for digest, name := range b.pending {
		if err := b.s.place(digest, name, dirs); err != nil {
			return fmt.Errorf("commit objects: %w", disk(err))
		}
		delete(b.pending, digest)
	}
	list := make([]string, 0, len(dirs)+1)
	for dir := range dirs {
		list = append(list, dir)
	}
	if len(list) > 0 {
		list = append(list, b.s.dir)
	}
	if err := flushDirs(b.s.dir, list); err != nil {
		return fmt.Errorf("commit objects: flush folders: %w", disk(err))
	}
	return nil
}

// place renames a flushed temporary file to its digest.
func (s *Store) place(digest, name string, dirs map[string]bool) error {
	path := s.Path(digest)
	dir := filepath.Dir(path)
	if !dirs[dir] {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		dirs[dir] = true
	}
	return os.Rename(name, path)
}

// Close drops what was not committed. It may be called twice.
func (b *Batch) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for digest, name := range b.pending {
		_ = os.Remove(name)
		delete(b.pending, digest)
	}
}
