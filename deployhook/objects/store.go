package objects

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Store is a folder of objects: DIR/ab/cdef… for the object whose digest is
// abcdef…. It is safe for concurrent use by one process; the command's lock on
// the state directory keeps a second one out.
type Store struct {
	dir string // absolute
	tmp string // on the same file system, emptied by Open

	handler http.Handler // of requests that were let in
	gate    gate
}

// Open opens the store in dir, which is made when it is not there, and removes
// the temporary files that a killed process left behind.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open objects: %w", err)
	}
	s := &Store{dir: dir, tmp: filepath.Join(dir, "tmp")}
	s.handler = s.routes()
	if err := os.RemoveAll(s.tmp); err != nil {
		return nil, fmt.Errorf("open objects: remove temporary files: %w", err)
	}
	if err := os.MkdirAll(s.tmp, 0o700); err != nil {
		return nil, fmt.Errorf("open objects: %w", disk(err))
	}
	return s, nil
}

// Dir returns the folder of the store.
func (s *Store) Dir() string { return s.dir }

// Path returns where the object with this digest lies or would lie. The file
// must not be written to. It is empty for what is not a digest.
func (s *Store) Path(digest string) string {
	if !ValidDigest(digest) {
		return ""
	}
	return filepath.Join(s.dir, digest[:2], digest[2:])
}

// Size returns the length of an object, or ErrNotFound.
func (s *Store) Size(digest string) (int64, error) {
	if !ValidDigest(digest) {
		return 0, ErrBadDigest
	}
	fi, err := os.Lstat(s.Path(digest))
	if err != nil {
		return 0, s.missing(digest, err)
	}
	return fi.Size(), nil
}

// Open opens an object for reading without looking at its content; see Verify
// and Assemble for readers that do. The error is ErrNotFound when there is none.
func (s *Store) Open(digest string) (*os.File, error) {
	if !ValidDigest(digest) {
		return nil, ErrBadDigest
	}
	f, err := os.Open(s.Path(digest))
	if err != nil {
		return nil, s.missing(digest, err)
	}
	return f, nil
}

// ReadAll returns the content of an object of at most limit bytes, verified. A
// corrupt object is removed and reported as ErrCorrupt.
func (s *Store) ReadAll(digest string, limit int64) ([]byte, error) {
	f, err := s.Open(digest)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	err = errors.Join(err, f.Close())
	switch {
	case err != nil:
		return nil, fmt.Errorf("read object %s: %w", digest, err)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("read object %s: it is larger than %d bytes", digest, limit)
	case Sum(b) != digest:
		return nil, s.corrupt(digest)
	}
	return b, nil
}

// corrupt removes a damaged object, so that the next fetch brings a good one.
func (s *Store) corrupt(digest string) error {
	return errors.Join(fmt.Errorf("%w: %s", ErrCorrupt, digest), s.Remove(digest))
}

// Remove deletes an object. One that is not there is fine.
func (s *Store) Remove(digest string) error {
	if !ValidDigest(digest) {
		return ErrBadDigest
	}
	if err := os.Remove(s.Path(digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove object: %w", err)
	}
	return nil
}

func (s *Store) missing(digest string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNotFound, digest)
	}
	return fmt.Errorf("open object: %w", err)
}

// Put stores what r delivers and returns its digest and length. When it
// returns, the object is durable.
func (s *Store) Put(r io.Reader) (digest string, size int64, err error) {
	b := s.NewBatch()
	defer b.Close()
	if digest, size, err = b.Add(r); err != nil {
		return "", 0, err
	}
	return digest, size, b.Commit()
}

// temporary is an object that is still being written.
type temporary struct {
	f    *os.File
	hash hash.Hash
	size int64
}

func (s *Store) newTemporary() (*temporary, error) {
	f, err := os.CreateTemp(s.tmp, "put-")
	if err != nil {
		return nil, fmt.Errorf("put object: %w", disk(err))
	}
	return &temporary{f: f, hash: sha256.New()}, nil
}

// Write implements io.Writer.
func (t *temporary) Write(p []byte) (int, error) {
	n, err := t.f.Write(p)
	t.hash.Write(p[:n])
	t.size += int64(n)
	return n, disk(err)
}

func (t *temporary) digest() string { return hex.EncodeToString(t.hash.Sum(nil)) }

// reset forgets what was written, to begin again from another source.
func (t *temporary) reset() error {
	t.hash.Reset()
	t.size = 0
	if _, err := t.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return t.f.Truncate(0)
}

// discard closes and removes the file.
func (t *temporary) discard() {
	_ = t.f.Close()
	_ = os.Remove(t.f.Name())
}

// touch renews the age of an object that a new release uses again, so that the
// grace of GC begins anew.
func (s *Store) touch(digest string) bool {
	now := time.Now()
	return os.Chtimes(s.Path(digest), now, now) == nil
}
