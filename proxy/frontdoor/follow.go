package frontdoor

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"time"

	"portico/conf"
	"portico/internal/pause"
	"portico/membership"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy/accesslog"
)

const (
	// sessionKeyAge is after what time a session key gets a successor.
	sessionKeyAge = 30 * 24 * time.Hour

	// maintainEvery is how often the slow chores are looked at.
	maintainEvery = 10 * time.Minute

	// followRest is how long a proxy rests at most after it has taken in a view that cost it much: changes that come meanwhile are taken in
	// together.
	followRest = 250 * time.Millisecond
)

// follow hands each new view to the parts that act on it.
func (p *Proxy) follow(ctx context.Context) {
	changed, cancel := p.catalog.Subscribe()
	defer cancel()
	taken := map[string]int64{} // revisions of secrets
	distrusted := map[string]bool{}
	take := func(v *catalog.View, name string, read func() error) {
		r := v.SecretRevision(name)
		if r == taken[name] {
			return
		}
		if err := read(); err != nil {
			p.log.Error(name+" keys not taken", "error", err)
			return
		}
		taken[name] = r
	}
	pace := pause.Spacing{Rest: followRest, Part: 10}
	for {
		if pace.Wait(ctx) != nil {
			return
		}
		began := time.Now()
		v := p.catalog.View()
		p.web.Update(v)
		p.tellFormer(v, distrusted)
		p.certs.Sync(v)
		p.gossip.Nudge(v.Revision)
		take(v, command.SecretSession, p.takeSessionKeys)
		take(v, command.SecretTickets, p.takeTicketKeys)
		take(v, secretLogin, p.takeLoginKey)
		pace.Done(began)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// tellFormer tells the process before this one, which may have streams yet and gets no views, whom the cluster does not trust.
func (p *Proxy) tellFormer(v *catalog.View, told map[string]bool) {
	if p.predecessor == nil {
		return
	}
	for name, m := range v.Members {
		if m.Admission == catalog.Accepted {
			delete(told, name)
		} else if !told[name] {
			told[name] = true
			_ = p.predecessor.Cut(name) // it has ended as a rule
		}
	}
}

func (p *Proxy) takeSessionKeys() error {
	keys, err := sessionKeys(p.catalog)
	if err != nil {
		return err
	}
	return p.web.SetKeys(keys)
}

// maintain does what is due now and then: it renews this proxy's certificate
// and replaces the keys of tickets and cookies. It also passes on what gossip notices.
func (p *Proxy) maintain(ctx context.Context) {
	changed, cancel := p.gossip.Subscribe()
	defer cancel()
	last, warned := map[string]membership.Status{}, map[int]bool{}
	p.warnUnheard(warned, time.Now())
	chores := time.NewTicker(maintainEvery)
	defer chores.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-changed:
			if !open {
				changed = nil
			}
			p.heed(last)
		case now := <-chores.C:
			p.warnUnheard(warned, now)
			p.chores(ctx, now)
		}
	}
}

// heed checks the instances of members of whom gossip says something new. Its
// word alone takes nobody out of rotation.
func (p *Proxy) heed(last map[string]membership.Status) {
	for _, n := range p.gossip.Members() {
		if last[n.Name] != n.Status {
			last[n.Name] = n.Status
			p.web.CheckNow(n.Name)
		}
	}
}

func (p *Proxy) chores(ctx context.Context, now time.Time) {
	if err := p.enrolProxy(ctx); err != nil {
		p.log.Error("own certificate not renewed", "error", err)
	}
	if err := p.rotateTicketKeys(ctx, now); err != nil {
		p.log.Error("ticket keys not replaced", "error", err)
	}
	keys, err := command.SessionKeys(p.catalog)
	if err != nil || len(keys) == 0 || now.Sub(keys[0].Created) < sessionKeyAge {
		return
	}
	// A proxy that cannot read the catalog would not know the new key when the others
	// seal with it, and begin their visitors' sessions anew.
	if silent := p.deployer.Silent(); len(silent) > 0 && now.Sub(keys[0].Created) < 2*sessionKeyAge {
		p.log.Info("session key not replaced yet: some proxies do not answer", "proxies", silent)
		return
	}
	if err := p.rotateSessionKey(ctx, now); err != nil && !errors.Is(err, catalog.ErrConflict) {
		p.log.Error("session key not replaced", "error", err)
	}
}

func (p *Proxy) rotateSessionKey(ctx context.Context, now time.Time) error {
	key := freshKey()
	_, err := p.catalog.Update(ctx, func(tx *catalog.Tx) error { return command.RotateSessionKey(tx, key, now) })
	return err
}

// secret returns a random secret of the cluster, made at its first use.
func (p *Proxy) secret(name string, n int) ([]byte, error) {
	var value []byte
	_, err := p.catalog.Update(context.Background(), func(tx *catalog.Tx) error {
		var err error
		if value, err = tx.Secret(name); !errors.Is(err, catalog.ErrNotFound) {
			return err
		}
		value = make([]byte, n)
		_, _ = rand.Read(value) // never fails
		return tx.PutSecret(name, value)
	})
	return value, err
}

// openAccessLog opens the access log that the configuration names, if any.
func openAccessLog(c conf.Log) (*accesslog.Log, error) {
	format := accesslog.JSON
	switch {
	case c.Access == "":
		return nil, nil
	case c.AccessFormat == "httplog":
		format = accesslog.HAProxy
	}
	return accesslog.New(format, c.Access, os.Stdout)
}
