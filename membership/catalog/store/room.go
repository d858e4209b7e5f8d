package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// startFiles are the descriptors that a start needs, and some.
const startFiles = 32

// passes reports whether an error tells of a want that is over some time, without harm to the files: of descriptors, memory or room.
func passes(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Passing reports whether the store has stopped for a want that passes, and for nothing else.
func (s *Store) Passing() bool { return s.fault.Load() != nil && !s.stays.Load() }

// GiveUp says that a closed store cannot be opened again in this process. Its fault is why then, or what it was before.
func (s *Store) GiveUp(why error) { s.fail(why.Error()) }

// faultUnsaved is what etcd says when it could not write to its log.
const faultUnsaved = "failed to save Raft hard state and entries"

// abandon closes the files of a server that does not stop, and reports whether they are closed. One that could not write to its log never
// stops: it waits for that write, with its files open and without touching them again. The goroutine that waits and the server's memory
// stay until the process ends. The files of a server that does not stop for another reason are left alone.
func (s *Store) abandon() bool {
	if !s.unsaved.Load() {
		return false
	}
	done := make(chan struct{})
	go func() { defer close(done); s.run.Load().etcd.Server.Cleanup() }()
	select {
	case <-done:
		return true
	case <-time.After(closeTimeout):
		return false
	}
}

// Room reports what a start would lack. It also brings what is in the log to the disk: after a failed sync the system may take bytes for
// stored that it has in memory only, and a start that read them there would build on sand.
func (s *Store) Room() error {
	files := make([]*os.File, 0, startFiles)
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	for range startFiles {
		f, err := os.Open(s.o.Dir)
		if err != nil {
			return fmt.Errorf("there are no descriptors: %w", err)
		}
		files = append(files, f)
	}
	path := filepath.Join(s.o.Dir, "room.tmp")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(fileutil.Preallocate(f, 2*walSegment, true), f.Sync(), f.Close(), os.Remove(path))
	if err != nil {
		return fmt.Errorf("there is no room: %w", err)
	}
	logs, err := filepath.Glob(filepath.Join(s.o.Dir, "etcd", "member", "wal", "*.wal"))
	for _, path := range logs {
		err = errors.Join(err, writeAgain(path))
	}
	return err
}

// writeAgain writes a file's bytes over themselves, and waits until the disk has them.
func writeAgain(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(f)
	if err == nil {
		_, err = f.WriteAt(data, 0)
	}
	return errors.Join(err, f.Sync(), f.Close())
}
