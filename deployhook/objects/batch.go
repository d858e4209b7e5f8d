package objects

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

const (
	// smallObject is read into memory before a file is made for it: most of a
	// second deploy is there already, and a digest is cheaper than a file.
	smallObject = 256 << 10
	// spillBytes is how much of small objects waits in memory to be written
	// by several goroutines at once, because making files is slow one by one.
	spillBytes = 32 << 20
)

// Batch stores many objects with few flushes: Add writes temporary files, Commit
// flushes all of them together, renames them and flushes each folder once.
// Nothing can be seen before Commit. It is safe for concurrent use.
type Batch struct {
	s *Store

	mu      sync.Mutex
	pending map[string]string // digest to temporary file
	memory  map[string][]byte // digest to content that has no file yet
	bytes   int               // in memory
	closed  bool
}

// errBatchClosed answers use after Close.
var errBatchClosed = errors.New("put object: the batch is closed")

// NewBatch begins a batch. Close must be called, also after Commit.
func (s *Store) NewBatch() *Batch {
	return &Batch{s: s, pending: make(map[string]string), memory: make(map[string][]byte)}
}

// Add takes what r delivers and returns its digest and length. Content that the
// store or the batch has already is not kept twice.
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
	var head bytes.Buffer
	_, err := io.CopyN(&head, r, smallObject+1)
	if errors.Is(err, io.EOF) {
		return b.addSmall(head.Bytes(), want)
	}
	if err != nil {
		return "", 0, fmt.Errorf("put object: %w", err)
	}
	t, err := b.s.newTemporary()
	if err != nil {
		return "", 0, err
	}
	if _, err := io.Copy(t, io.MultiReader(&head, r)); err != nil {
		t.discard()
		return "", 0, fmt.Errorf("put object: %w", err)
	}
	return b.take(t, want)
}

// addSmall keeps content in memory until enough of it has come.
func (b *Batch) addSmall(content []byte, want string) (string, int64, error) {
	digest, size := Sum(content), int64(len(content))
	if want != "" && digest != want {
		return "", 0, mismatch(want, digest)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return "", 0, errBatchClosed
	case b.knownLocked(digest) || b.s.held(digest, size):
		return digest, size, nil
	}
	b.memory[digest] = content
	if b.bytes += len(content); b.bytes > spillBytes || len(b.memory) > bundleCount {
		return digest, size, b.spillLocked()
	}
	return digest, size, nil
}

func (b *Batch) knownLocked(digest string) bool {
	_, file := b.pending[digest]
	_, memory := b.memory[digest]
	return file || memory
}

// spillLocked writes what is in memory to temporary files.
func (b *Batch) spillLocked() error {
	digests := slices.Collect(maps.Keys(b.memory))
	var mu sync.Mutex
	err := inParallel(digests, func(digest string) error {
		mu.Lock()
		content := b.memory[digest]
		mu.Unlock()
		t, err := b.s.newTemporary()
		if err != nil {
			return err
		}
		_, err = t.f.Write(content)
		if err = errors.Join(err, t.f.Close()); err != nil {
			t.discard()
			return fmt.Errorf("put object: %w", disk(err))
		}
		mu.Lock()
		defer mu.Unlock()
		b.pending[digest] = t.f.Name()
		delete(b.memory, digest)
		return nil
	})
	b.bytes = 0
	for _, content := range b.memory {
		b.bytes += len(content)
	}
	return err
}

// take makes a finished temporary file part of the batch.
func (b *Batch) take(t *temporary, want string) (string, int64, error) {
	digest, size := t.digest(), t.size
	if want != "" && digest != want {
		t.discard()
		return "", 0, mismatch(want, digest)
	}
	if err := t.f.Close(); err != nil {
		t.discard()
		return "", 0, fmt.Errorf("put object: %w", disk(err))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.knownLocked(digest) || b.s.held(digest, size) {
		t.discard()
		if b.closed {
			return "", 0, errBatchClosed
		}
		return digest, size, nil
	}
	b.pending[digest] = t.f.Name()
	return digest, size, nil
}

func mismatch(want, got string) error {
	return fmt.Errorf("put object: %w: %s was wanted, %s came", ErrCorrupt, want, got)
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
	if err := b.spillLocked(); err != nil {
		return err
	}
	files := make([]string, 0, len(b.pending))
	for _, name := range b.pending {
		files = append(files, name)
	}
	if err := flushMany(os.OpenFile, b.s.tmp, files); err != nil {
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
	if err := flushDirs(os.OpenFile, b.s.dir, list); err != nil {
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
	clear(b.memory)
}
