package certs

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// Bounds on asking for certificates.
const (
	maxHosts      = 10000           // that certificates are managed for
	maxObtaining  = 4               // certificates asked for at a time
	obtainTimeout = 3 * time.Minute // for one attempt: two challenges that time out
	retryFirst    = time.Minute     // until the second attempt; doubles
	retryMost     = 6 * time.Hour   // authorities allow a few failures an hour
	kickAfter     = time.Minute     // a visitor may bring the next attempt forward after this
)

// source says where a host's certificate comes from.
type source int

const (
	fromNowhere  source = iota // no certificate: plain HTTP only, or a file
	fromACME                   // the directory
	fromInternal               // the cluster's authority
)

// host is one host that a site has.
type host struct {
	name   string
	source source
	reason string // why there is no certificate to come

	// Guarded by Manager.mu.
	loaded   bool      // the catalog was asked for a certificate
	busy     bool      // one attempt is under way
	failures int       // in a row
	tried    time.Time // when the last attempt ended
	next     time.Time // when the next is due; zero: now
	err      error     // of the last attempt
}

// siteHosts is what one site's settings come to.
type siteHosts struct {
	hosts  []string
	source func(host string) (source, string)
}

// Sync takes in the hosts of the view's installed sites: certificates are asked
// for those that are new, and those that are gone are let go. Nothing else makes
// this manager ask for a certificate.
func (m *Manager) Sync(v *catalog.View) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sites := make(map[*catalog.Site]siteHosts, len(v.Sites))
	want := map[string]*host{}
	for _, s := range v.Sites {
		sh, known := m.sites[s]
		if !known {
			sh = m.hostsOf(s)
		}
		sites[s] = sh
		for _, name := range sh.hosts {
			src, reason := sh.source(name)
			if old := want[name]; old != nil && old.source >= src {
				continue // several sites share the host at different paths
			}
			if len(want) >= maxHosts {
				continue
			}
			want[name] = &host{name: name, source: src, reason: reason}
		}
	}
	for name, old := range m.hosts {
		if n := want[name]; n != nil && n.source == old.source {
			old.reason = n.reason
			want[name] = old
			continue
		}
		if old.source == fromACME {
			m.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: name}})
		}
		delete(m.internal, name)
	}
	if m.sites == nil {
		close(m.synced)
	}
	m.hosts, m.sites = want, sites
	m.signal()
}

// hostsOf returns the hosts of a site that runs, with their source.
func (m *Manager) hostsOf(s *catalog.Site) siteHosts {
	if s.Release == "" {
		return siteHosts{} // never came up: nobody is to be bothered for it
	}
	settings, err := s.Effective()
	if err != nil {
		return siteHosts{}
	}
	mode := settings.TLS.Mode
	return siteHosts{settings.Hosts, func(host string) (source, string) {
		switch mode {
		case sites.TLSOff:
			return fromNowhere, "tls.mode is off"
		case sites.TLSInternal:
			if m.o.Authority != nil {
				return fromInternal, ""
			}
			return fromNowhere, "there is no authority"
		}
		if why := m.unfit(host); why != "" {
			return fromNowhere, why
		}
		return fromACME, ""
	}}
}

// unfit says why the directory would not certify a host, or "".
func (m *Manager) unfit(host string) string {
	_, err := netip.ParseAddr(host)
	switch {
	case m.o.Directory == "":
		return "no ACME directory is set"
	case err == nil:
		return "it is an address, not a name"
	case strings.HasPrefix(host, "*."):
		return "a wildcard cannot be proven over HTTP: give its certificate as a file"
	case !m.public:
		return "" // a directory of one's own may know any name
	case !strings.Contains(host, ".") || !certmagic.SubjectQualifiesForPublicCert(host):
		return "it is not a public name"
	}
	for _, suffix := range []string{".test", ".example", ".invalid", ".lan", ".home", ".corp", ".intranet", ".onion", ".arpa"} {
		if strings.HasSuffix(host, suffix) {
			return "it is not a public name"
		}
	}
	return ""
}

// signal makes run look again. m.mu may be held.
func (m *Manager) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// run starts attempts when they are due, until Close.
func (m *Manager) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
		}
		timer.Reset(m.startDue())
	}
}

// startDue starts what is due as far as there are slots, and returns how long
// nothing else will be.
func (m *Manager) startDue() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	wait := time.Hour
	for _, h := range m.hosts {
		if h.source != fromACME || h.busy || h.done() {
			continue
		}
		if d := h.next.Sub(now()); !h.next.IsZero() && d > 0 {
			wait = min(wait, d)
			continue
		}
		select {
		case m.slots <- struct{}{}:
		default:
			return wait // the end of an attempt signals
		}
		h.busy = true
		m.wg.Go(func() { m.attempt(h) })
	}
	return wait
}

// done reports whether the host has its certificate; renewal is certmagic's.
func (h *host) done() bool { return h.loaded && h.failures == 0 && !h.tried.IsZero() }

// attempt loads a host's certificate from the catalog, or obtains one.
func (m *Manager) attempt(h *host) {
	ctx, cancel := context.WithTimeout(m.ctx, 2*obtainTimeout)
	defer cancel()
	err := m.ensure(ctx, h)
	m.mu.Lock()
	defer m.mu.Unlock()
	<-m.slots
	h.busy, h.tried = false, now()
	h.err = err
	if err == nil {
		h.failures, h.next = 0, time.Time{}
	} else if m.ctx.Err() == nil {
		h.failures++
		h.next = now().Add(retryIn(h.failures))
		m.logger.Warn("certificate not obtained", "host", h.name, "error", err, "failures", h.failures, "next", h.next)
	}
	if m.hosts[h.name] != h {
		m.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: h.name}}) // the site went meanwhile
	}
	m.signal()
}

// ensure brings a host's certificate from the catalog into the cache, and gets a
// new one if there is none or it runs out soon. Loading asks nobody outside, so a
// directory that is down holds up nothing that is there.
func (m *Manager) ensure(ctx context.Context, h *host) error {
	c, err := m.obtain.CacheManagedCertificate(ctx, h.name)
	m.mu.Lock()
	h.loaded = err == nil || errors.Is(err, fs.ErrNotExist)
	m.mu.Unlock()
	if errors.Is(err, fs.ErrNotExist) {
		return m.obtain.ManageSync(ctx, []string{h.name})
	}
	if err != nil || !c.NeedsRenewal(m.obtain) {
		return err
	}
	return m.renew(ctx, h.name, false)
}

// renew gets a new certificate in place of the one that is in the cache.
func (m *Manager) renew(ctx context.Context, name string, force bool) error {
	old := m.cache.AllMatchingCertificates(name)
	if err := m.obtain.RenewCertSync(ctx, name, force); err != nil {
		return err
	}
	c, err := m.obtain.CacheManagedCertificate(ctx, name)
	if err != nil {
		return err
	}
	for _, o := range old {
		if o.Hash() != c.Hash() {
			m.cache.Remove([]string{o.Hash()})
		}
	}
	return nil
}

// retryIn returns how long to wait after a number of failures in a row, give or
// take a tenth.
func retryIn(failures int) time.Duration {
	d := min(retryFirst<<min(failures-1, 20), retryMost)
	return d - d/10 + rand.N(d/5)
}

// kick brings the next attempt for a host forward, because a visitor came: its
// name leads here now, so the directory will find us too.
func (m *Manager) kick(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.hosts[name]
	if h == nil || h.source != fromACME || h.busy || h.failures == 0 || now().Sub(h.tried) < kickAfter<<min(h.failures-1, 6) {
		return
	}
	h.next = time.Time{}
	m.signal()
}
