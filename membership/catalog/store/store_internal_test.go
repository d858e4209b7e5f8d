package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openTest(t *testing.T) *Store {
	t.Helper()
	s, err := Open(Options{Dir: t.TempDir(), Name: "proxy-1", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.Ready(t.Context())
	return s
}

// The store's fault ends changes at once and for good.
func TestFaultStopsWrites(t *testing.T) {
	s := openTest(t)
	s.fail("fsync: input/output error")
	_, _, err := s.Transact(t.Context(), nil, []Op{Put("a", nil)})
	if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "fsync") {
		t.Error(err)
	}
	if !errors.Is(s.Err(), ErrBroken) || s.Broken().Err() == nil {
		t.Error("Err is silent, or Broken goes on")
	}
}

// A store that a fault keeps from its end says so, and keeps its lock.
func TestStuckStoreKeepsItsLock(t *testing.T) {
	s := openTest(t)
	s.use.RLock() // an operation that does not end
	done := make(chan struct{})
	t.Cleanup(func() {
		s.use.RUnlock()
		go func() { defer close(done); s.run.Load().stop() }()
		<-done
		_ = s.lock.Close()
	})
	s.fail("commit: input/output error")
	for range 2 {
		if err := s.Close(); !errors.Is(err, ErrStuck) || !errors.Is(err, ErrBroken) {
			t.Errorf("closed: %v", err)
		}
	}
	if _, err := Open(s.o); !errors.Is(err, ErrLocked) {
		t.Errorf("opened once more: %v", err)
	}
}

// Etcd's words reach nobody, and a change that was sent without an answer is told apart from
// one that was refused.
func TestEtcdErrors(t *testing.T) {
	for _, err := range noAnswers {
		if got := plain(fmt.Errorf("grant lease: %w", err)); !errors.Is(got, ErrNoAnswer) || strings.Contains(got.Error(), "etcdserver") {
			t.Errorf("%v is told as %v", err, got)
		}
		if refused(err) {
			t.Errorf("after %v a change counts as not stored", err)
		}
	}
	for _, err := range []error{rpctypes.ErrTooManyOps, rpctypes.ErrRequestTooLarge, rpctypes.ErrNoSpace, rpctypes.ErrTooManyRequests} {
		if !refused(err) {
			t.Errorf("after %v a change counts as stored, perhaps", err)
		}
	}
	s := openTest(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := s.Transact(ctx, nil, []Op{Put("x", nil)})
	if !errors.Is(err, ErrUncertain) {
		t.Errorf("a change whose caller did not wait for the answer: %v", err)
	}
}

// Who waits to lead costs the cluster no write.
func TestWaitingToLeadWritesNothing(t *testing.T) {
	s := openTest(t)
	if _, _, err := s.Transact(t.Context(), nil, []Op{Put("locks/lead/task", []byte("another"))}); err != nil {
		t.Fatal(err)
	}
	server := s.run.Load().etcd.Server
	before := server.CommittedIndex()
	for range 5 {
		if led, _, err := s.Lead(t.Context(), "task"); led != nil || err != nil {
			t.Fatalf("it leads beside another: %v", err)
		}
	}
	if after := server.CommittedIndex(); after != before {
		t.Errorf("five looks wrote %d entries", after-before)
	}
}
