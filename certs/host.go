package certs

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"slices"
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

// claim is what one site's settings say of a host that it has.
type claim struct {
	site   string
	source source
	reason string // why there is no certificate to come
}

// Sync takes in the hosts of the view's installed sites: certificates are asked
// for those that are new, and those that are gone are let go. Nothing else makes
// this manager ask for a certificate. Work is done for the sites whose records are others than at the last call.
func (m *Manager) Sync(v *catalog.View) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.claims == nil {
		m.claims = map[string][]claim{}
		close(m.synced)
	} else if catalog.SameMap(m.sites, v.Sites) {
		return
	}
	touched, known := map[string]bool{}, 0
	for name, s := range v.Sites {
		old, ok := m.sites[name]
		if ok {
			known++
		}
		if old != s {
			m.dropClaims(name, touched)
			m.takeClaims(name, s, touched)
		}
	}
	if known < len(m.sites) {
		for name := range m.sites {
			if v.Sites[name] == nil {
				m.dropClaims(name, touched)
			}
		}
	}
	m.sites = v.Sites
	m.settle(touched)
}

// takeClaims adds what a site's record says to the claims, and names the hosts that it concerns.
func (m *Manager) takeClaims(site string, s *catalog.Site, touched map[string]bool) {
	hosts, source := m.hostsOf(s)
	for _, host := range hosts {
		src, reason := source(host)
		m.claims[host] = append(m.claims[host], claim{site, src, reason})
		touched[host] = true
	}
	if len(hosts) > 0 {
		m.hostsBy[site] = hosts
	}
}

// dropClaims takes away what a site's record said.
func (m *Manager) dropClaims(site string, touched map[string]bool) {
	for _, host := range m.hostsBy[site] {
		left := slices.DeleteFunc(m.claims[host], func(c claim) bool { return c.site == site })
		if m.claims[host] = left; len(left) == 0 {
			delete(m.claims, host)
		}
		touched[host] = true
	}
	delete(m.hostsBy, site)
}

// settle makes the hosts that were touched what their claims say.
func (m *Manager) settle(touched map[string]bool) {
	var open []string // hosts that want a place
	for name := range touched {
		old, best := m.hosts[name], m.bestClaim(name)
		if best == nil || old == nil || old.source != best.source {
			m.letGo(old)
			if best != nil {
				open = append(open, name)
			}
			continue
		}
		old.reason = best.reason
	}
	for _, name := range open {
		m.admit(name)
	}
	if len(m.claims) > len(m.hosts) && len(m.hosts) < maxHosts { // there was no place for some, and now there is
		for name := range m.claims {
			if m.hosts[name] == nil {
				m.admit(name)
			}
		}
	}
}

// bestClaim returns the claim that counts: several sites can have the host at different paths.
func (m *Manager) bestClaim(name string) *claim {
	var best *claim
	for i, c := range m.claims[name] {
		if best == nil || c.source > best.source {
			best = &m.claims[name][i]
		}
	}
	return best
}

// letGo forgets a host; nil is none.
func (m *Manager) letGo(old *host) {
	if old == nil {
		return
	}
	if old.source == fromACME {
		m.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: old.name}})
	}
	delete(m.internal, old.name)
	delete(m.hosts, old.name)
}

// admit takes a host on if there is a place.
func (m *Manager) admit(name string) {
	if len(m.hosts) >= maxHosts {
		return
	}
	best := m.bestClaim(name)
	m.hosts[name] = &host{name: name, source: best.source, reason: best.reason}
	if best.source == fromACME {
		m.signal()
	}
}

// hostsOf returns the hosts of a site that runs, and what says where their certificates come from.
func (m *Manager) hostsOf(s *catalog.Site) (hosts []string, of func(host string) (source, string)) {
	if s.Release == "" {
		return nil, nil // never came up: nobody is to be bothered for it
	}
	settings, err := s.Effective()
	if err != nil {
		return nil, nil
	}
	mode := settings.TLS.Mode
	return settings.Hosts, func(host string) (source, string) {
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
	}
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
