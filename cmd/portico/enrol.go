package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"portico/certs"
	"portico/membership"
	"portico/membership/catalog"
	"portico/proxy/admin"
)

// enrol gives this proxy the same kind of identity that it hands to others. One that
// has it already does not wait for the catalog: what has changed since its last start is
// written down as soon as the catalog takes changes, see settleIn.
func (f *frontDoor) enrol(ctx context.Context) error {
	var err error
	if f.authority, err = certs.LoadAuthority(ctx, f.catalog, time.Now); err != nil {
		return err
	}
	if err := f.revoked(); err != nil {
		return err
	}
	if !f.known() {
		return f.settleIn(ctx)
	}
	err = catalog.ErrNoMajority
	if f.catalog.HasLeader() {
		brief, cancel := context.WithTimeout(ctx, startWithout)
		err = f.settleIn(brief)
		cancel()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, catalog.ErrConflict), errors.Is(err, catalog.ErrInvalid), ctx.Err() != nil:
		return err
	}
	f.log.Warn("the catalog takes no changes yet: the own record is that of the last start", "error", err)
	if err := f.renewAlone(time.Now()); err != nil {
		f.log.Warn("own certificate not renewed", "error", err)
	}
	return nil
}

// startWithout bounds a change of the catalog during a start that can do without.
const startWithout = 300 * time.Millisecond

// known reports whether this proxy is a member already, with the key and the certificate
// that it has.
func (f *frontDoor) known() bool {
	self := f.catalog.View().Members[f.conf.Proxy.Name]
	_, member := f.identity.Peer()
	return member && self != nil && self.Admission == catalog.Accepted && self.Fingerprint == f.identity.Fingerprint()
}

// settleIn writes down what the cluster is to know of this proxy. Where that is there
// already it writes nothing.
func (f *frontDoor) settleIn(ctx context.Context) error {
	if err := f.enrolProxy(ctx); err != nil {
		return err
	}
	if err := f.rotateTicketKeys(ctx, time.Now()); err != nil {
		return fmt.Errorf("make ticket keys: %w", err)
	}
	return nil
}

// enrolProxy makes this proxy a member of its own cluster.
func (f *frontDoor) enrolProxy(ctx context.Context) error {
	hello, err := f.hello(ctx)
	if err != nil {
		return err
	}
	if err := membership.Enroll(ctx, f.catalog, f.authority, f.identity, hello, time.Now()); err != nil {
		return err
	}
	return f.reserveHosts(ctx)
}

// setPassword makes an administrator's account with that password.
func setPassword(ctx context.Context, c *catalog.Catalog, name, secret string) error {
	hash, err := admin.HashPassword(secret)
	if err != nil {
		return err
	}
	now := time.Now()
	_, err = c.Update(ctx, func(tx *catalog.Tx) error {
		_, err := catalog.ChangeAccount(tx, name, func(a *catalog.Account) error {
			a.Password, a.Role = hash, catalog.RoleAdmin
			return nil
		})
		if errors.Is(err, catalog.ErrNotFound) {
			return catalog.CreateAccount(tx, catalog.Account{Name: name, Role: catalog.RoleAdmin, Password: hash}, now)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("make account %s: %w", name, err)
	}
	return nil
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
