package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// mutex takes the lock called name and returns the call that gives it back. It is
// bound to a lease, so a process that dies loses it.
func (s *store) mutex(ctx context.Context, name string) (func(), error) {
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
func (s *store) localTurn(ctx context.Context, name string) (release func(), err error) {
	s.heldMu.Lock()
	h := s.held[name]
	if h == nil {
		h = &held{turn: make(chan struct{}, 1)}
		h.turn <- struct{}{}
		s.held[name] = h
	}
	h.users++
	s.heldMu.Unlock()
	leave := func() {
		s.heldMu.Lock()
		defer s.heldMu.Unlock()
		if h.users--; h.users == 0 {
			delete(s.held, name)
		}
	}
	select {
	case <-h.turn:
		return func() { h.turn <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

// clusterLock takes the lock among the processes of the cluster.
func (s *store) clusterLock(ctx context.Context, name string) (unlock func(), err error) {
	session, err := s.lockSession(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(session.Ctx(), cancel)
	defer stop()
	m := concurrency.NewMutex(session, "locks/"+name)
	if err := m.Lock(ctx); err != nil {
		return nil, errors.Join(s.err(), plain(err))
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
func (s *store) lockSession(ctx context.Context) (*concurrency.Session, error) {
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
