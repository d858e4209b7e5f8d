package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

const (
	revokeTimeout = 2 * time.Second // for giving locks back at the end; there may be no quorum
	leaseSeconds  = 10              // a lock of a dead process is free after this, and the time of an election later where the leader died with it; alone that is five seconds
)

// lockPrefix begins the keys that are the store's own.
const lockPrefix = "locks/"

// Own reports whether a key is the store's own, of a lock or of who leads.
func Own(key string) bool { return strings.HasPrefix(key, lockPrefix) }

// Lock takes the lock called name and returns the call that gives it back. It is
// bound to a lease, so a process that dies loses it.
func (s *Store) Lock(ctx context.Context, name string) (func(), error) {
	release, err := s.localTurn(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("lock %q: %w", name, err)
	}
	unlock, err := s.clusterLock(ctx, name)
	if err != nil {
		release()
		return nil, fmt.Errorf("lock %q: %w", name, err)
	}
	return sync.OnceFunc(func() {
		unlock()
		release()
	}), nil
}

// localTurn waits until nobody else in this process has the lock.
func (s *Store) localTurn(ctx context.Context, name string) (release func(), err error) {
	s.localMu.Lock()
	l := s.local[name]
	if l == nil {
		l = &localLock{turn: make(chan struct{}, 1)}
		l.turn <- struct{}{}
		s.local[name] = l
	}
	l.users++
	s.localMu.Unlock()
	leave := func() {
		s.localMu.Lock()
		defer s.localMu.Unlock()
		if l.users--; l.users == 0 {
			delete(s.local, name)
		}
	}
	select {
	case <-l.turn:
		return func() { l.turn <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

// clusterLock takes the lock among the processes of the cluster.
func (s *Store) clusterLock(ctx context.Context, name string) (unlock func(), err error) {
	session, err := s.lockSession(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(session.Ctx(), cancel)
	defer stop()
	m := concurrency.NewMutex(session, lockPrefix+name)
	if err := m.Lock(ctx); err != nil {
		return nil, errors.Join(s.Err(), plain(err))
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), revokeTimeout)
		defer cancel()
		// Not by the session, which ends when the server begins another life. The
		// lease ends the lock if this does not.
		_ = s.do(ctx, func(ctx context.Context) error {
			_, err := s.client().Delete(ctx, m.Key())
			return err
		})
	}, nil
}

// lockSession returns the lease that all locks of this process hang on, with a
// new one after the old has run out.
func (s *Store) lockSession(ctx context.Context) (*concurrency.Session, error) {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	if s.session != nil {
		select {
		case <-s.session.Done():
		default:
			return s.session, nil
		}
	}
	var id clientv3.LeaseID
	err := s.do(ctx, func(ctx context.Context) error {
		l, err := s.client().Grant(ctx, leaseSeconds)
		if err == nil {
			id = l.ID
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("grant lease: %w", err)
	}
	session, err := concurrency.NewSession(s.client(), concurrency.WithLease(id))
	if err != nil {
		return nil, fmt.Errorf("keep lease: %w", err)
	}
	s.session = session
	return session, nil
}

// giveLocksBack ends the lease that the locks hang on. They end with it in a while if this does not.
func (s *Store) giveLocksBack() {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	if s.session == nil || s.Err() != nil {
		return
	}
	s.session.Orphan()
	ctx, cancel := context.WithTimeout(context.Background(), revokeTimeout)
	defer cancel()
	_, _ = s.client().Revoke(ctx, s.session.Lease())
}
