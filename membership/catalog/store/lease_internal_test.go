package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/server/v3/lease"
)

// renewals is a server that renews leases for twelve seconds, and says what next tells it where that is set.
type renewals struct {
	began time.Time
	at    []time.Duration // since began
	next  func(n int) (seconds int64, err error)
}

func (r *renewals) LeaseRenew(ctx context.Context, _ lease.LeaseID) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	r.at = append(r.at, time.Since(r.began))
	if r.next != nil {
		return r.next(len(r.at))
	}
	return 12, nil
}

// TestLeaseIsRenewed: a lease is renewed each third of its time, sooner after a failure, and is over when its time is, or when the server
// says so: what hangs on it must not be believed for longer.
func TestLeaseIsRenewed(t *testing.T) {
	busy := errors.New("no leader")
	for name, c := range map[string]struct {
		next func(n int) (int64, error)
		at   string        // when it is renewed
		over time.Duration // since the beginning; 0: not within a minute
	}{
		"each third": {at: "[0s 4s 8s 12s 16s 20s 24s 28s 32s 36s 40s 44s 48s 52s 56s 1m0s]"},
		"failures that pass": {
			next: func(n int) (int64, error) {
				if n > 1 && n < 6 {
					return 0, busy
				}
				return 12, nil
			},
			at: "[0s 4s 5s 6s 7s 8s 12s 16s 20s 24s 28s 32s 36s 40s 44s 48s 52s 56s 1m0s]",
		},
		"failures that do not": {
			next: func(n int) (int64, error) {
				if n > 2 {
					return 0, busy
				}
				return 12, nil
			},
			at: "[0s 4s 8s 9s 10s 11s 12s 13s 14s 15s]", over: 16 * time.Second,
		},
		"the server has none": {
			next: func(n int) (int64, error) {
				if n > 1 {
					return 0, lease.ErrLeaseNotFound
				}
				return 12, nil
			},
			at: "[0s 4s]", over: 4 * time.Second,
		},
		"it has run out": {
			next: func(n int) (int64, error) { return int64(max(24-12*n, 0)), nil },
			at:   "[0s 4s]", over: 4 * time.Second,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &renewals{began: time.Now(), next: c.next}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			over, err := leases{renewer: r}.KeepAlive(ctx, 7)
			if err != nil {
				t.Fatal(err)
			}
			ended := time.Duration(0)
			select {
			case <-over:
				ended = time.Since(r.began)
			case <-time.After(time.Minute + time.Millisecond):
			}
			cancel()
			<-over // it ends with who wanted it
			if got := fmt.Sprint(r.at); got != c.at || ended != c.over {
				t.Errorf("%s: renewed at %s, over after %s; want %s, %s", name, got, ended, c.at, c.over)
			}
		})
	}
	r := &renewals{next: func(int) (int64, error) { return 0, busy }}
	if _, err := (leases{renewer: r}).KeepAlive(t.Context(), 7); !errors.Is(err, busy) {
		t.Errorf("a lease that could not be renewed at all: %v", err)
	}
}
