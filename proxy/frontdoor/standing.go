package frontdoor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"portico/internal/pause"
	"portico/membership"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

const (
	// standingEvery is how often a proxy looks whether there is a majority, and asks
	// the others whether it still belongs to them where there has been none for so
	// many looks. Told so twice, it ends.
	standingEvery = time.Second
	standingLooks = 3
	standingTold  = 2
)

// belong returns an error when this proxy has no part in its cluster any more: it
// was revoked, or the others went on without it. It returns nil when ctx ends.
func (p *Proxy) belong(ctx context.Context) error {
	changed, cancel := p.catalog.Subscribe()
	defer cancel()
	look := pause.NewTicker(standingEvery)
	defer look.Stop()
	looks, told := standingLooks, 0 // the first look counts: it may come back after a long time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			if err := p.revoked(); err != nil {
				return err
			}
			continue
		case <-look.C:
			look.Next()
		}
		if p.catalog.HasLeader() && !errors.Is(p.catalog.Err(), catalog.ErrRemoved) {
			looks, told = 0, 0
			continue
		}
		if looks++; looks < standingLooks {
			continue
		}
		cluster, replica := p.catalog.Part()
		err := membership.Standing(ctx, p.proxyTLS(nil), p.otherProxies(), cluster, replica)
		var refusal *membership.Refusal
		switch {
		case err == nil:
			told = 0
		case errors.As(err, &refusal):
			if told++; told >= standingTold {
				return p.expelled(refusal, refusal.Code == membership.CodeNotMember)
			}
		}
	}
}

// revoked returns an error when the catalog, as this proxy knows it, says that it was
// revoked.
func (p *Proxy) revoked() error {
	self := p.catalog.View().Members[p.conf.Proxy.Name]
	if self == nil || self.Admission != catalog.Revoked {
		return nil
	}
	return p.expelled(fmt.Errorf("this proxy was revoked%s", because(self.Reason)), true)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// expelled says what can be done about it.
func (p *Proxy) expelled(why error, record bool) error {
	first := ""
	if record {
		first = "have the record removed at another proxy (portico members forget " + p.conf.Proxy.Name + "), "
	}
	return fmt.Errorf("%w: to join anew, %smove %s away and start with --join", why, first, p.path("catalog"))
}

// secretLogin is the name of the secret that seals page logins.
const secretLogin = "login"

// revoking replaces what a revoked proxy knew and could use from outside: the keys of
// page logins, tickets and session cookies. A session key that was replaced a short
// time ago stays: nobody is to lose a session, and what it seals are pins.
func (p *Proxy) revoking(tx *catalog.Tx, m catalog.Member) error {
	if m.Role != catalog.RoleProxy || m.Catalog == "" {
		return nil
	}
	now := time.Now()
	err := tx.PutSecret(secretLogin, freshKey())
	if period := p.conf.TLS.Tickets.Std(); err == nil && period > 0 {
		err = command.ReplaceTicketKeys(tx, period, freshKey, now)
	}
	if err != nil {
		return err
	}
	if err := command.RotateSessionKey(tx, freshKey(), now); err != nil && !errors.Is(err, catalog.ErrConflict) {
		return err
	}
	return nil
}

// takeLoginKey takes the key of page logins that the catalog has.
func (p *Proxy) takeLoginKey() error {
	key, err := p.catalog.Secret(secretLogin)
	if err != nil {
		return err
	}
	return p.admin.SetLoginKey(key)
}

// otherProxies are the admin addresses of the other proxies, the configured ones last.
func (p *Proxy) otherProxies() []string {
	var addrs []string
	for name, m := range p.catalog.View().Members {
		if m.Role == catalog.RoleProxy && m.Admission == catalog.Accepted && m.Addr != "" && name != p.conf.Proxy.Name {
			addrs = append(addrs, m.Addr)
		}
	}
	return append(addrs, p.conf.Proxy.Join...)
}

// renewAlone renews the own certificate without writing it down: a proxy that was
// away for months is let in by the others again, and then has a majority to write with.
func (p *Proxy) renewAlone(now time.Time) error {
	m := p.catalog.View().Members[p.conf.Proxy.Name]
	if m == nil || m.Fingerprint != p.identity.Fingerprint() || !p.identity.NeedsRenewal(now) {
		return nil
	}
	csr, err := p.identity.CSR(m.Name)
	if err != nil {
		return err
	}
	der, err := p.authority.SignMember(csr, *m, now)
	if err != nil {
		return err
	}
	return p.identity.SetCertificate(der, p.authority.Certificate())
}
