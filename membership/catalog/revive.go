package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"

	"portico/internal/pause"
)

const (
	reviveFirst = 250 * time.Millisecond // before the first look whether the want is over
	reviveLast  = 15 * time.Second       // between two looks, in the end
	startFiles  = 32                     // descriptors that a start needs, and some
)

// errStuck reports a start or an end of the server that does not come to its own end: it may have the files open for as long as this
// process lives.
var errStuck = errors.New("it still has the files open")

// passes reports whether an error tells of a want that is over some time, without harm to the files: of descriptors, memory or room.
func passes(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// passing reports whether the store has stopped for a want that passes, and for nothing else.
func (s *store) passing() bool { return s.fault.Load() != nil && !s.stays.Load() }

// revive opens the store again each time that it has stopped for a want that passes, until ctx ends. Nothing that the store has
// acknowledged is at stake: a start reads what is in the log, as after a kill.
func (c *Catalog) revive(ctx context.Context) {
	for {
		s := c.store.Load()
		select {
		case <-ctx.Done():
			return
		case <-s.broken.Done():
		}
		if !s.passing() {
			return
		}
		began := time.Now()
		c.logger.Error("the catalog takes no changes until it has been opened again, which it is by itself; traffic goes on with the last known state", "error", s.err())
		if err := s.close(); err != nil {
			c.staysShut(s, err)
			return
		}
		if err := c.reopenInTime(ctx, s); err != nil {
			if ctx.Err() == nil {
				c.staysShut(s, err)
			}
			return
		}
		c.logger.Info("the catalog takes changes again", "after", time.Since(began).Round(time.Millisecond).String())
	}
}

// faultUnsaved is what etcd says when it could not write to its log.
const faultUnsaved = "failed to save Raft hard state and entries"

// abandon closes the files of a server that does not stop, and reports whether they are closed. One that could not write to its log never
// stops: it waits for that write, with its files open and without touching them again. The wait, and what the server has in memory, stay
// for as long as the process lives. What else may keep a server is not known, so its files are left alone.
func (s *store) abandon() bool {
	if !s.unsaved.Load() {
		return false
	}
	done := make(chan struct{})
	go func() { defer close(done); s.run.Load().etcd.Server.Cleanup() }()
	select {
	case <-done:
		return true
	case <-time.After(brokenTimeout):
		return false
	}
}

// staysShut gives up: changes are refused until the process starts again.
func (c *Catalog) staysShut(s *store, why error) {
	s.stays.Store(true)
	c.logger.Error("the catalog cannot be opened again in this process: changes are refused until portico starts again", "error", why)
}

// reopenInTime looks again and again whether what s stopped for is there, and opens a store in its place then.
func (c *Catalog) reopenInTime(ctx context.Context, s *store) error {
	for wait := reviveFirst; ; wait = min(2*wait, reviveLast) {
		if err := pause.For(ctx, wait); err != nil {
			return err
		}
		err := s.room()
		if err == nil {
			err = c.reopen(ctx)
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil, errors.Is(err, errStuck):
			return err
		}
		c.logger.Warn("the catalog is not open again yet", "error", err, "again", min(2*wait, reviveLast).String())
	}
}

// reopen opens a store in place of one that is closed, and catches up with what it has. On an error the closed one stays in its place.
func (c *Catalog) reopen(ctx context.Context) error {
	s, err := openAny(c.o, c.view.Load)
	if err != nil {
		return err
	}
	before := c.store.Swap(s)
	view, err := c.first(ctx)
	if err != nil {
		c.store.Store(before)
		return errors.Join(err, s.close())
	}
	if view.Revision >= c.View().Revision { // without a quorum it may be older
		c.publish(view, true)
	}
	return nil
}

// room reports what a start would lack. It also brings what is in the log to the disk: after a failed sync the system may take bytes for
// stored that it has in memory only, and a start that read them there would build on sand.
func (s *store) room() error {
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
