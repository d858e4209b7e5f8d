package store

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/lease"

	"portico/internal/pause"
)

// renewAgain is between two attempts to renew a lease after one has failed.
const renewAgain = time.Second

// leases are the embedded server's, kept alive by a call for each third of their time. Etcd's client looks twice a second which of its
// leases are due, and once a second which have run out.
type leases struct {
	clientv3.Lease
	renewer
}

// renewer is the part of the server that renews leases. It returns for how many seconds.
type renewer interface {
	LeaseRenew(ctx context.Context, id lease.LeaseID) (int64, error)
}

// KeepAlive renews a lease until ctx ends or the lease has run out, and then closes the channel, on which nothing comes.
func (l leases) KeepAlive(ctx context.Context, id clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	asked := time.Now()
	life, err := l.renew(ctx, id)
	if err != nil {
		return nil, err
	}
	over := make(chan *clientv3.LeaseKeepAliveResponse)
	go func() {
		defer close(over)
		l.keep(ctx, id, asked, life)
	}()
	return over, nil
}

// keep renews a lease that was renewed for life at the time asked.
func (l leases) keep(ctx context.Context, id clientv3.LeaseID, asked time.Time, life time.Duration) {
	for wait := life / 3; pause.For(ctx, wait) == nil; {
		now := time.Now()
		limited, cancel := context.WithDeadline(ctx, asked.Add(life))
		got, err := l.renew(limited, id)
		cancel()
		switch {
		case err == nil:
			asked, life, wait = now, got, got/3
		case errors.Is(err, lease.ErrLeaseNotFound), time.Since(asked) >= life:
			return
		default:
			wait = renewAgain
		}
	}
}

func (l leases) renew(ctx context.Context, id clientv3.LeaseID) (life time.Duration, err error) {
	seconds, err := l.LeaseRenew(ctx, lease.LeaseID(id))
	if err == nil && seconds <= 0 {
		err = lease.ErrLeaseNotFound
	}
	return time.Duration(seconds) * time.Second, err
}
