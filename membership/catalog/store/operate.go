package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"portico/internal/pause"
)

const (
	// OpTimeout is for one operation whose caller set no deadline.
	OpTimeout = 10 * time.Second

	readAgain = 10 * time.Millisecond // between two tries to read while the cluster is between leaders
)

// Item is one key with its value and the revision that wrote it.
type Item struct {
	Key      string
	Value    []byte
	Revision int64
}

// do runs one operation with a deadline, and gives up at once when the store
// breaks meanwhile.
func (s *Store) do(ctx context.Context, op func(context.Context) error) error {
	if err := s.Err(); err != nil {
		return err
	}
	if !s.use.TryRLock() {
		return ErrClosed
	}
	defer s.use.RUnlock()
	ctx, cancel := context.WithTimeoutCause(ctx, OpTimeout, ErrNoAnswer)
	defer cancel()
	defer context.AfterFunc(s.broken, cancel)()
	s.gate.RLock()
	err := s.explainOutside(op(ctx))
	s.gate.RUnlock()
	if err == nil {
		return nil
	}
	if fault := s.Err(); fault != nil {
		return fault
	}
	if s.broken.Err() != nil {
		return ErrClosed
	}
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		if s.outside {
			return fmt.Errorf("%w (%w)", cause, err) // which says what the connection met
		}
		return cause
	}
	return plain(err)
}

// Ready waits until a leader is known, or ctx ends.
func (s *Store) Ready(ctx context.Context) {
	if s.outside {
		return // the first read finds out
	}
	server := s.run.Load().etcd.Server
	select {
	case <-server.ReadyNotify():
	case <-s.leaderKnown(ctx, server):
	case <-s.broken.Done():
	case <-ctx.Done():
	}
}

// read is do for operations without effect: it repeats them while the cluster is
// between leaders.
func (s *Store) read(ctx context.Context, op func(context.Context) error) error {
	return s.do(ctx, func(ctx context.Context) error {
		for {
			err := op(ctx)
			var e rpctypes.EtcdError
			if !errors.As(err, &e) || e.Code() != codes.Unavailable {
				return err
			}
			if pause.For(ctx, readAgain) != nil {
				return err
			}
		}
	})
}

// Get reads one key. Serializable asks this member's own copy only.
func (s *Store) Get(ctx context.Context, key string, serializable bool) (it Item, found bool, err error) {
	var opts []clientv3.OpOption
	if serializable {
		opts = append(opts, clientv3.WithSerializable())
	} else if err := s.awaitLeader(ctx); err != nil {
		return it, false, err
	}
	err = s.read(ctx, func(ctx context.Context) error {
		r, err := s.client().Get(ctx, key, opts...)
		if err == nil && len(r.Kvs) == 1 {
			it, found = Item{key, r.Kvs[0].Value, r.Kvs[0].ModRevision}, true
		}
		return err
	})
	return it, found, err
}

// List reads every key that starts with prefix, and the revision at which it
// did. Serializable asks this member's own copy only.
func (s *Store) List(ctx context.Context, prefix string, keysOnly, serializable bool) (items []Item, revision int64, err error) {
	opts := []clientv3.OpOption{clientv3.WithPrefix()}
	if prefix == "" {
		opts = []clientv3.OpOption{clientv3.WithFromKey()}
		prefix = "\x00"
	}
	if keysOnly {
		opts = append(opts, clientv3.WithKeysOnly())
	}
	if serializable {
		opts = append(opts, clientv3.WithSerializable())
	} else if err := s.awaitLeader(ctx); err != nil {
		return nil, 0, err
	}
	err = s.read(ctx, func(ctx context.Context) error {
		r, err := s.client().Get(ctx, prefix, opts...)
		if err != nil {
			return err
		}
		revision = r.Header.Revision
		items = itemsOf(r)
		return nil
	})
	return items, revision, err
}

func itemsOf(r *clientv3.GetResponse) []Item {
	items := make([]Item, 0, len(r.Kvs))
	for _, kv := range r.Kvs {
		items = append(items, Item{string(kv.Key), kv.Value, kv.ModRevision})
	}
	return items
}

// Transact writes everything or nothing. It reports whether the comparisons held, and
// the store's revision then. The error is ErrUncertain where it may have been done.
func (s *Store) Transact(ctx context.Context, compare []Cmp, ops []Op) (ok bool, revision int64, err error) {
	sent := false
	err = s.do(ctx, func(ctx context.Context) error {
		if err := s.awaitLeader(ctx); err != nil {
			return err
		}
		ctx, done := s.whileLed(ctx)
		defer done()
		sent = true
		r, err := s.client().Txn(ctx).If(compare...).Then(ops...).Commit()
		switch {
		case err == nil:
			ok, revision = r.Succeeded, r.Header.Revision
			return nil
		case errors.Is(context.Cause(ctx), ErrLeaderChanged):
			return ErrLeaderChanged
		}
		return s.explainTimeout(err)
	})
	if sent && err != nil && !refused(err) {
		err = fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	return ok, revision, err
}

// Newest reads the last limit keys that start with prefix, the last first. Limit 0 means all.
func (s *Store) Newest(ctx context.Context, prefix string, limit int) (items []Item, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		r, err := s.client().Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithLimit(int64(limit)),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
		if err == nil {
			items = itemsOf(r)
		}
		return err
	})
	return items, err
}

// DeleteRange deletes the keys from first on that sort before end.
func (s *Store) DeleteRange(ctx context.Context, first, end string) error {
	return s.do(ctx, func(ctx context.Context) error {
		_, err := s.client().Delete(ctx, first, clientv3.WithRange(end))
		return err
	})
}

// ForgetHistory drops what keys held before a revision, also from the file: a backup is
// a copy of the file.
func (s *Store) ForgetHistory(ctx context.Context, revision int64) error {
	return s.do(ctx, func(ctx context.Context) error {
		_, err := s.client().Compact(ctx, revision, clientv3.WithCompactPhysical())
		if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
			return fmt.Errorf("drop the history: %w", err)
		}
		// Of this proxy's own copy. By the client it would need a listener.
		if err := s.run.Load().etcd.Server.Backend().Defrag(); err != nil {
			return fmt.Errorf("rewrite the file: %w", err)
		}
		return nil
	})
}
