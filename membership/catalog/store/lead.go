package store

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Lead takes the lead in a task if nobody has it or this proxy itself, and does not wait for it; led is nil if it is not. It
// looks into its own copy first, so that waiting costs nobody a write.
func (s *Store) Lead(ctx context.Context, task string) (led context.Context, resign func(), err error) {
	key, name := lockPrefix+"lead/"+task, s.o.Name
	if it, found, err := s.Get(ctx, key, !s.outside); err == nil && found && string(it.Value) != name {
		return nil, nil, nil
	}
	session, err := s.lockSession(ctx)
	if err != nil {
		return nil, nil, err
	}
	put := clientv3.OpPut(key, name, clientv3.WithLease(session.Lease()))
	mine := false
	err = s.do(ctx, func(ctx context.Context) error {
		r, err := s.client().Txn(ctx).If(clientv3.Compare(clientv3.Version(key), "=", 0)).Then(put).Else(clientv3.OpGet(key)).Commit()
		if err != nil || r.Succeeded {
			mine = err == nil
			return err
		}
		kvs := r.Responses[0].GetResponseRange().GetKvs()
		if len(kvs) == 0 || string(kvs[0].GetValue()) != name {
			return nil
		}
		r, err = s.client().Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", kvs[0].GetModRevision())).Then(put).Commit()
		mine = err == nil && r.Succeeded
		return err
	})
	if err != nil || !mine {
		return nil, nil, err
	}
	led, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(session.Ctx(), cancel)
	return led, func() {
		stop()
		cancel()
		ctx, done := context.WithTimeout(context.Background(), revokeTimeout)
		defer done()
		// The lease ends it if this does not.
		_, _, _ = s.Transact(ctx, []Cmp{clientv3.Compare(clientv3.LeaseValue(key), "=", int64(session.Lease()))}, []Op{Delete(key)})
	}, nil
}
