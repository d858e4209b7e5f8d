package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"

	"portico/internal/pause"
)

const (
	tendEvery    = time.Second     // between looks at who has the catalog
	strangerLife = time.Minute     // how long one may have it whom the catalog does not know
	leaderless   = 3 * time.Second // without a leader before it is said; an election takes one
)

// tend keeps those who have the catalog in step with the members, until Close.
func (c *Catalog) tend() {
	changed, cancel := c.Subscribe()
	defer cancel()
	look := pause.NewStrokes(tendEvery)
	defer look.Stop()
	t := tending{c: c, strangers: map[types.ID]time.Time{}, led: time.Now()}
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-changed:
		case <-look.C:
			look.Next()
		}
		switch err := c.store.Load().err(); {
		case c.suspended.Load():
		case err == nil:
			t.look()
		case err.Error() != t.said:
			t.said = err.Error()
			c.logger.Error("the catalog takes no changes any more, traffic goes on with the last known state", "error", err)
		}
	}
}

// tending is what tend remembers between two looks.
type tending struct {
	c         *Catalog
	strangers map[types.ID]time.Time // when they were seen first
	said      string                 // the last trouble that was logged
	led       time.Time              // when there was a leader last
	waiting   bool                   // it was said that there is none
}

func (t *tending) look() {
	c := t.c
	run := c.store.Load().run.Load()
	server := run.etcd.Server
	if len(server.Cluster().Members()) == 1 && run.peers == nil {
		return
	}
	led := c.store.Load().led()
	if t.sayLeader(led); !led && run.peers != nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, opTimeout)
	defer cancel()
	err := c.share(ctx) // after a start with files that did not tell yet
	c.store.Load().run.Load().peers.prune()
	if err == nil && server.Leader() == server.MemberID() {
		err = errors.Join(t.dismiss(ctx), t.promote(ctx))
	}
	text := ""
	if err != nil && c.ctx.Err() == nil {
		text = err.Error()
	}
	if text != t.said && text != "" {
		c.logger.Warn("the proxies that have the catalog are not those that should, trying again", "error", err)
	}
	t.said = text
}

// sayLeader logs when changes begin to wait for a majority, and when they do not
// any more.
func (t *tending) sayLeader(known bool) {
	now := time.Now()
	if known {
		if t.waiting {
			t.c.logger.Info("the catalog has a majority again")
		}
		t.led, t.waiting = now, false
	} else if !t.waiting && now.Sub(t.led) > leaderless {
		t.waiting = true
		t.c.logger.Warn("the catalog has no majority: changes wait, traffic goes on with the last known state")
	}
}

// dismiss removes those who are no accepted proxies any more.
func (t *tending) dismiss(ctx context.Context) error {
	c := t.c
	server := c.store.Load().run.Load().etcd.Server
	var errs []error
	for _, e := range server.Cluster().Members() {
		name := c.replicaName(e.Name, e.PeerURLs)
		m := c.View().Members[name]
		if e.ID == server.MemberID() || m != nil && m.Admission == Accepted && m.Role == RoleProxy {
			delete(t.strangers, e.ID)
			continue
		}
		if m == nil {
			if t.strangers[e.ID].IsZero() {
				t.strangers[e.ID] = time.Now()
			}
			if time.Since(t.strangers[e.ID]) < strangerLife {
				continue // this view may be behind
			}
		} else if _, found, err := c.acceptedNow(ctx, name); err != nil || found {
			errs = append(errs, err)
			continue
		}
		if err := c.removeReplica(ctx, uint64(e.ID)); err != nil {
			errs = append(errs, fmt.Errorf("remove proxy %q: %w", name, err))
			continue
		}
		c.logger.Info("proxy removed from the catalog", "member", name)
	}
	return errors.Join(errs...)
}

// acceptedNow asks the store, which knows better than the view, whether a member
// is an accepted proxy.
func (c *Catalog) acceptedNow(ctx context.Context, name string) (m *Member, accepted bool, err error) {
	key := preMembers + name
	it, found, err := c.store.Load().get(ctx, key, false)
	if err != nil || !found {
		return nil, false, err
	}
	if m, err = decode[Member](key, it.value); err != nil {
		return nil, false, err
	}
	return m, m.Admission == Accepted && m.Role == RoleProxy, nil
}

// replicaName is the member behind one of etcd's: it tells its name at its first
// start, and until then its address has to do.
func (c *Catalog) replicaName(name string, urls []string) string {
	if name != "" {
		return name
	}
	for _, m := range c.View().Members {
		if m.Catalog != "" && slices.Contains(urls, peerURL(m.Catalog).String()) {
			return m.Name
		}
	}
	return ""
}

// promote gives those a vote that have the whole catalog, so that the number of
// votes is odd: two that must agree are worse than one. The second proxy keeps a
// copy until there is a third.
func (t *tending) promote(ctx context.Context) error {
	c := t.c
	server := c.store.Load().run.Load().etcd.Server
	voters, learners := 0, 0
	for _, e := range server.Cluster().Members() {
		if e.IsLearner {
			learners++
		} else {
			voters++
		}
	}
	if learners == 0 || voters%2 == 1 && learners < 2 {
		return nil
	}
	var ready []Replica
	for _, r := range c.Replicas(ctx) {
		if r.Role == ReplicaLearner && r.Reachable && r.Ready {
			ready = append(ready, r)
		}
	}
	if voters%2 == 1 {
		ready = ready[:len(ready)/2*2]
	}
	for _, r := range ready {
		err := c.store.Load().do(ctx, func(ctx context.Context) error {
			_, err := c.store.Load().client().MemberPromote(ctx, r.id)
			return err
		})
		if err != nil {
			return fmt.Errorf("give proxy %q a vote: %w", r.Name, err)
		}
		c.logger.Info("proxy has a vote", "member", r.Name)
	}
	return nil
}
