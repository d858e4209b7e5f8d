package catalog

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"portico/internal/pause"
)

// leadEvery is how often a proxy asks whether it may lead.
const leadEvery = time.Second

// Lead waits until this proxy is the one that leads in a task, and returns a
// context that ends when it is not any more: when resign is called, or its lease has
// run out because the store could not be reached. Another proxy leads at once after
// resign, and at most 15 seconds after this process has died; a new process of the same
// proxy takes over from the one before it without waiting. As with Lock, a late write of who
// led before is possible: changes compare what they read.
func (c *Catalog) Lead(ctx context.Context, task string) (led context.Context, resign func(), err error) {
	if err := validID("task", task); err != nil {
		return nil, nil, err
	}
	for {
		led, resign, err = c.store.Load().lead(ctx, "locks/lead/"+task, c.o.Name)
		if err != nil {
			return nil, nil, fmt.Errorf("lead in %q: %w", task, err)
		}
		if led != nil {
			return led, resign, nil
		}
		if err := pause.For(ctx, leadEvery); err != nil {
			return nil, nil, fmt.Errorf("lead in %q: %w", task, err)
		}
	}
}

// lead takes the key once if it is free or this proxy's own; led is nil if it is not. It
// looks into its own copy first, so that waiting costs nobody a write.
func (s *store) lead(ctx context.Context, key, name string) (led context.Context, resign func(), err error) {
	if it, found, err := s.get(ctx, key, !s.outside); err == nil && found && string(it.value) != name {
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
		_, _, _ = s.transact(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.LeaseValue(key), "=", int64(session.Lease()))}, []clientv3.Op{clientv3.OpDelete(key)})
	}, nil
}
