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
	reserveName  = "reserve"
	reserveSize  = 2 * walSegment
	reserveLeast = walSegment / 4
)

// spendReserve frees the room that was kept for a start.
func (s *Store) spendReserve() { _ = os.Remove(filepath.Join(s.o.Dir, reserveName)) }

// keepReserve keeps room for the next start, less of it where the disk has less. A disk without any is no reason to end this one.
func (s *Store) keepReserve() {
	path := filepath.Join(s.o.Dir, reserveName)
	for size := int64(reserveSize); size >= reserveLeast; size /= 2 {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			err = errors.Join(fileutil.Preallocate(f, size, true), f.Close())
		}
		if err == nil {
			return
		}
		_ = os.Remove(path)
		s.logger.Debug("no room is kept for the next start", "bytes", size, "error", err)
	}
}

// fillDatabase takes the room on the disk that the database has by its size. Bolt makes the file larger by 16 MiB at a time, with nothing
// behind them: a full disk would stop the next change, and where the file system gives a mapped file its room at the first look, as
// tmpfs does, a start would eat what is kept for it.
func (s *Store) fillDatabase() {
	f, err := os.OpenFile(database(filepath.Join(s.o.Dir, "etcd")), os.O_RDWR, 0)
	if err == nil {
		var info os.FileInfo
		if info, err = f.Stat(); err == nil {
			err = fileutil.Preallocate(f, info.Size(), false) // the size is bolt's to change
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.logger.Debug("the disk keeps no room for the database", "error", err)
	}
}
