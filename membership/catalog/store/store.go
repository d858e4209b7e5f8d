// Package store is the small part of etcd that the catalog uses: get, list, transact with comparisons, watch from a revision,
// lock, lead. It runs the etcd inside this process, alone or as one of several proxies that have the same keys, or it connects to
// one that somebody else runs. It knows which proxies there are, and nothing of what the keys hold.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/client/v3/concurrency"

	"portico/membership/catalog/store/peers"
)

// Options say where the store lies, and who knows what is in it.
type Options struct {
	Dir    string         // made with mode 0700; one process at a time
	Name   string         // this proxy's member name
	Peers  *peers.Options // how other proxies reach this one; nil: it stays the only one
	Logger *slog.Logger   // never nil

	// Outside is an etcd to use in place of the embedded one. Nil: the embedded one.
	Outside *Outside

	Members Members // asked with Peers only
	Records Records // asked before the embedded one opens its files
}

// Members tells of the proxies of the cluster: their records are in the store, which cannot read them.
type Members interface {
	// Member returns what this process knows of the member called name. The answer is the same for
	// every name while it has read nothing yet.
	Member(name string) Standing
	// At returns the name of the member whose store listens at addr; empty: of nobody.
	At(addr string) string
	// AcceptedNow reports whether a member is an accepted proxy. It asks the store, which may know
	// better than Member.
	AcceptedNow(ctx context.Context, name string) (bool, error)
	// Read returns up to which revision this process has read the store; whole: it has read a
	// cluster's records and not an empty store.
	Read() (revision int64, whole bool)
}

// Standing is what is known of a member.
type Standing struct {
	Unread   bool // nothing is known of anybody: nothing was read yet
	Found    bool // it has a record
	Accepted bool // it is an accepted proxy
	Listens  bool // it has told where its store listens

	Fingerprint string // of its key
}

// Records tells what the values of a healthy store look like.
type Records struct {
	// Check refuses a damaged value. It gets each revision of each key that is kept, in their order; one
	// that was deleted has none. Nil: all are taken.
	Check func(key string, value []byte) error
	// Settled is the key that a cluster has from its first change on.
	Settled string
}

// Store is open until Close. All methods may be used concurrently.
type Store struct {
	o      Options
	logger *slog.Logger
	lock   *fileutil.LockedFile

	outside bool // somebody else runs the etcd

	sharing sync.Mutex              // held while the store becomes reachable for others
	use     sync.RWMutex            // held by each operation; Close takes it for good
	gate    sync.RWMutex            // held by each operation, and alone while the server begins another life
	run     atomic.Pointer[running] // nil until the first life has begun

	broken  context.Context // ends with the first fault, or with Close
	brake   context.CancelFunc
	fault   atomic.Pointer[string]
	stays   atomic.Bool // the fault is none that passes, see Passing
	unsaved atomic.Bool // one of the faults is faultUnsaved
	removed atomic.Bool // the fault is that the other proxies removed this one

	sessionMu sync.Mutex
	session   *concurrency.Session // of the locks; nil until the first

	localMu sync.Mutex
	local   map[string]*localLock // locks that this process has or waits for

	closeOnce sync.Once
	closeErr  error
}

// localLock keeps those of one process apart who want the same lock: to etcd they all
// look like one, because they share a lease.
type localLock struct {
	turn  chan struct{} // holds one token: who takes it has the lock
	users int           // guarded by Store.localMu
}

const (
	closeTimeout  = 10 * time.Second // for the server to stop
	brokenTimeout = 2 * time.Second  // the same after a fault: it may never
)

// Open locks o.Dir and starts the server in it, or connects to the outside one. An embedded server
// has read its files then; a leader may not be there yet. An outside one may not have answered. It fails
// with ErrLocked when another process has the directory, with ErrCorrupt when the files are damaged: they are
// left as they are. With ErrStuck the directory stays locked until this process ends.
func Open(o Options) (*Store, error) {
	setSegmentSize()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Store{o: o, logger: o.Logger, lock: lock, local: map[string]*localLock{}, outside: o.Outside != nil}
	s.broken, s.brake = context.WithCancel(context.Background())
	if s.outside {
		err = s.connect()
	} else {
		err = s.begin()
	}
	if err != nil {
		if !errors.Is(err, ErrStuck) { // or another process would find the files open
			_ = lock.Close()
		}
		return nil, err
	}
	return s, nil
}

// lockDir keeps a second process out of a store's folder.
func lockDir(dir string) (*fileutil.LockedFile, error) {
	lock, err := fileutil.TryLockFile(filepath.Join(dir, "lock"), os.O_WRONLY|os.O_CREATE, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, fmt.Errorf("%w: %s belongs to a running portico; stop it or use another --dir", ErrLocked, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return lock, nil
}

// Broken ends with the first fault, or with Close.
func (s *Store) Broken() context.Context { return s.broken }

// Shared reports whether other proxies can reach this one's store.
func (s *Store) Shared() bool { return s.run.Load().peers != nil }

// Embedded reports whether the etcd runs in this process.
func (s *Store) Embedded() bool { return !s.outside }

// Close stops the server and gives the directory back. It may be called twice.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.giveLocksBack()
		s.brake()
		wait := closeTimeout
		if s.fault.Load() != nil && !s.Passing() {
			wait = brokenTimeout
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.use.Lock() // whoever reads a closed store may take the process with it
			s.run.Load().stop()
		}()
		select {
		case <-done:
			s.closeErr = s.lock.Close()
		case <-time.After(wait):
			// Only a store that met a fault hangs here. Unless its files can be closed, its
			// lock stays until the process ends.
			s.run.Load().peers.Close()
			if s.Passing() && s.abandon() {
				s.closeErr = s.lock.Close()
				return
			}
			s.closeErr = errors.Join(s.Err(), fmt.Errorf("the store did not stop within %s: %w", wait, ErrStuck))
		}
	})
	return s.closeErr
}
