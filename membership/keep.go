package membership

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// KeepOptions say what an accepted member keeps current.
type KeepOptions struct {
	Identity Identity
	Servers  func() []string // admin addresses of proxies as known now, tried in turn
	Member   *tls.Config     // client side of mutual TLS with the identity's certificate
	Hello    func() Hello    // what is true of this machine now

	// SetKeys is called with new gossip keys after they have been stored, see
	// Cluster.SetKeys. Nil: they are only stored.
	SetKeys func([][]byte) error

	// Renewed is called with what a proxy answered to news or a renewal. Nil:
	// nobody cares.
	Renewed func(Acceptance)

	Logger *slog.Logger // nil: nothing is logged
}

const (
	keyWait    = 30 * time.Second // how long a proxy holds back an unchanged answer
	renewCheck = 10 * time.Minute // between looks at the certificate's age and at the news
	notMember  = 3                // so many times a member must be told that it is none
)

// Keep keeps a member's certificate and gossip keys current until ctx ends,
// and tells the proxies when something about the machine has changed. It
// returns a *Refusal when the proxies no longer know the machine as a member,
// else nil.
func Keep(ctx context.Context, o KeepOptions) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	k := &keeper{o: o, log: o.Logger, client: memberClient(o.Member), dismiss: cancel}
	defer k.client.CloseIdleConnections()
	var wg sync.WaitGroup
	wg.Go(func() { k.followKeys(ctx) })
	wg.Go(func() { k.renewInTime(ctx) })
	wg.Wait()
	var refusal *Refusal
	if errors.As(context.Cause(ctx), &refusal) {
		return refusal
	}
	return nil
}

type keeper struct {
	o       KeepOptions
	log     *slog.Logger
	client  *http.Client
	dismiss context.CancelCauseFunc

	mu   sync.Mutex
	told int // times in a row that we were told to be no member
}

// judge counts what proxies say of us. One proxy whose view is late is no
// reason to go.
func (k *keeper) judge(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var refusal *Refusal
	switch {
	case err == nil:
		k.told = 0
	case errors.As(err, &refusal) && refusal.Code == CodeNotMember:
		k.told++
	case rejected(err):
		k.told++
		refusal = refuse(http.StatusForbidden, CodeNotMember, "", "the proxies do not take this machine's certificate any more")
	}
	if k.told >= notMember && refusal != nil {
		k.dismiss(refusal)
	}
}

// server returns the n-th choice of a proxy, empty when none is known.
func (k *keeper) server(n int) string {
	servers := k.o.Servers()
	if len(servers) == 0 {
		return ""
	}
	return servers[n%len(servers)]
}

func (k *keeper) followKeys(ctx context.Context) {
	keys, err := k.o.Identity.GossipKeys()
	if err != nil {
		k.log.Warn("gossip keys not read", "error", err)
	}
	sum := KeySum(keys)
	for failures := 0; ctx.Err() == nil; {
		err := k.fetchKeys(ctx, k.server(failures), &sum)
		if ctx.Err() != nil {
			return
		}
		k.judge(err)
		if err == nil {
			failures = 0
			continue
		}
		k.log.Debug("gossip keys not fetched", "error", err)
		if rest(ctx, backoff(failures)) != nil {
			return
		}
		failures++
	}
}

var errNoServer = errors.New("no proxy is known")

func (k *keeper) fetchKeys(ctx context.Context, server string, sum *string) error {
	if server == "" {
		return errNoServer
	}
	ctx, cancel := context.WithTimeout(ctx, keyWait+15*time.Second)
	defer cancel()
	began := time.Now()
	keys, err := keysAt(ctx, k.client, server, *sum, keyWait)
	if err != nil {
		return err
	}
	if got := KeySum(keys.Keys); got != *sum {
		if err := k.o.Identity.SetGossipKeys(keys.Keys); err != nil {
			return err
		}
		if k.o.SetKeys != nil {
			if err := k.o.SetKeys(keys.Keys); err != nil {
				return err
			}
		}
		*sum = got
		return nil
	}
	if time.Since(began) < time.Second { // a proxy that does not wait must not be asked in a circle
		return rest(ctx, time.Second)
	}
	return nil
}

func (k *keeper) renewInTime(ctx context.Context) {
	var told Hello
	first, failures := true, 0
	for {
		h := k.o.Hello()
		wait := renewCheck
		if first || !sameNews(told, h) || k.o.Identity.NeedsRenewal(time.Now()) {
			err := k.renew(ctx, k.server(failures), h)
			if ctx.Err() != nil {
				return
			}
			k.judge(err)
			if err == nil {
				told, first, failures = h, false, 0
			} else {
				k.log.Warn("certificate or news of this machine not taken, trying again", "error", err, "certificate ends", k.o.Identity.NotAfter())
				wait = min(2*backoff(failures), renewCheck)
				failures++
			}
		}
		if rest(ctx, wait) != nil {
			return
		}
	}
}

func (k *keeper) renew(ctx context.Context, server string, h Hello) error {
	if server == "" {
		return errNoServer
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	before := k.o.Identity.NotAfter()
	a, err := renewAt(ctx, k.client, server, k.o.Identity, h, time.Now())
	if err != nil {
		return err
	}
	if after := k.o.Identity.NotAfter(); !after.Equal(before) {
		k.log.Info("certificate renewed", "ends", after)
		k.client.CloseIdleConnections() // the next one shows it
	}
	if k.o.Renewed != nil {
		k.o.Renewed(a)
	}
	return nil
}

func sameNews(a, b Hello) bool {
	return sameHello(*record(Knock{Hello: a}, "", time.Time{}), *record(Knock{Hello: b}, "", time.Time{}))
}
