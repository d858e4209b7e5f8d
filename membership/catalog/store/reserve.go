package store

import (
	"errors"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// A start of etcd gives the end of its log's last file back to the disk and takes it again, while it makes room for a further file. On a
// full disk one of the two can take what the other has just given back, and the start fails. So room for a start is kept in a file of
// its own, which gives way to it.
const (
	reserveName = "reserve"
	reserveSize = 2 * walSegment
)

// spendReserve frees the room that was kept for a start.
func (s *Store) spendReserve() { _ = os.Remove(filepath.Join(s.o.Dir, reserveName)) }

// keepReserve keeps room for the next start. A disk without it is no reason to end this one.
func (s *Store) keepReserve() {
	path := filepath.Join(s.o.Dir, reserveName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		s.logger.Debug("no room is kept for the next start", "error", err)
		return
	}
	if err := errors.Join(fileutil.Preallocate(f, reserveSize, true), f.Close()); err != nil {
		_ = os.Remove(path)
		s.logger.Debug("no room is kept for the next start", "error", err)
	}
}
