package frontdoor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"time"

	"portico/certs"
	"portico/membership"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

// enrol gives this proxy the same kind of identity that it hands to others. One that
// has it already does not wait for the catalog: what has changed since its last start is
// written down as soon as the catalog takes changes, see settleIn.
func (p *Proxy) enrol(ctx context.Context) error {
	var err error
	if p.authority, err = certs.LoadAuthority(ctx, p.catalog, time.Now); err != nil {
		return err
	}
	if err := p.revoked(); err != nil {
		return err
	}
	if !p.known() {
		return p.settleIn(ctx)
	}
	err = catalog.ErrNoMajority
	if p.catalog.HasLeader() {
		brief, cancel := context.WithTimeout(ctx, startWithout)
		err = p.settleIn(brief)
		cancel()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, catalog.ErrConflict), errors.Is(err, catalog.ErrInvalid), ctx.Err() != nil:
		return err
	}
	p.log.Warn("the catalog takes no changes yet: the own record is that of the last start", "error", err)
	if err := p.renewAlone(time.Now()); err != nil {
		p.log.Warn("own certificate not renewed", "error", err)
	}
	return nil
}

// startWithout bounds a change of the catalog during a start that can do without.
const startWithout = 300 * time.Millisecond

// known reports whether this proxy is a member already, with the key and the certificate
// that it has.
func (p *Proxy) known() bool {
	self := p.catalog.View().Members[p.conf.Proxy.Name]
	_, member := p.identity.Peer()
	return member && self != nil && self.Admission == catalog.Accepted && self.Fingerprint == p.identity.Fingerprint()
}

// settleIn writes down what the cluster is to know of this proxy. Where that is there
// already it writes nothing.
func (p *Proxy) settleIn(ctx context.Context) error {
	if err := p.enrolProxy(ctx); err != nil {
		return err
	}
	if err := p.rotateTicketKeys(ctx, time.Now()); err != nil {
		return fmt.Errorf("make ticket keys: %w", err)
	}
	return nil
}

// enrolProxy makes this proxy a member of its own cluster.
func (p *Proxy) enrolProxy(ctx context.Context) error {
	hello, err := p.hello(ctx)
	if err != nil {
		return err
	}
	if err := membership.Enroll(ctx, p.catalog, p.authority, p.identity, hello, time.Now()); err != nil {
		return err
	}
	return p.reserveHosts(ctx)
}

// isLoopback reports whether a listening address is for this machine alone.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// reachable is a listener's address as a client on this machine would dial it.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port))
}

// reserveHosts tells the cluster which hosts this proxy's configuration has: the names of
// its admin page, which no site may take, and those of the sites of its file.
func (p *Proxy) reserveHosts(ctx context.Context) error {
	r := catalog.Reserved{Proxy: p.conf.Proxy.Name, Admin: p.adminNames()}
	for _, s := range *p.sites.Load() {
		r.Sites = append(r.Sites, catalog.ReservedSite{Name: s.Name, Hosts: s.Hosts, Path: s.Path})
	}
	before := p.catalog.View().ReservedBy(r.Proxy)
	_, err := p.catalog.Update(ctx, func(tx *catalog.Tx) error { return command.Reserve(tx, r) })
	if err == nil && !maps.Equal(p.catalog.View().ReservedBy(r.Proxy), before) {
		p.warnOfHosts()
	}
	return err
}

// warnOfHosts names the sites that had a name of an admin page before it was one: they go on.
func (p *Proxy) warnOfHosts() {
	lines, admin := p.catalog.View().HostLines(), map[string]bool{}
	for _, l := range lines {
		admin[l.Host] = admin[l.Host] || l.Site == ""
	}
	for _, l := range lines {
		if l.Site != "" && admin[l.Host] {
			p.log.Warn("a site has a name of the admin page: its scripts run beside the page's login, give one of them another host", "site", l.Site, "host", l.Host)
		}
	}
}
