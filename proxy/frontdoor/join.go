package frontdoor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"portico/certs"
	"portico/internal/exitcode"
	"portico/internal/preflight"
	"portico/internal/statedir"
	"portico/membership"
	"portico/membership/catalog"
)

// hello is what this proxy says about itself, to its own cluster and to one that it
// wants to join.
func (p *Proxy) hello(ctx context.Context) (h membership.Hello, err error) {
	c := p.conf
	h = membership.Hello{Name: c.Proxy.Name, Role: catalog.RoleProxy, Version: p.options.Version, Platform: runtime.GOOS + "/" + runtime.GOARCH}
	for _, a := range []struct {
		to                       *string
		setting, advertise, bind string
	}{
		{&h.Addr, "admin", c.Admin.Advertise, c.Admin.Address},
		{&h.Gossip, "gossip", c.Gossip.Advertise, c.Gossip.Address},
		{&h.Catalog, "catalog", c.Catalog.Advertise, c.Catalog.Address},
	} {
		if *a.to, _, err = membership.Advertised(ctx, a.advertise, a.bind, c.Proxy.Join); err != nil {
			return h, fmt.Errorf("find the address that members reach this proxy at: %w: set %s.advertise", err, a.setting)
		}
	}
	return h, nil
}

// joinCluster makes this proxy one of a cluster that runs already. It is for the
// first start: from then on the catalog is on this machine's own disk.
func (p *Proxy) joinCluster(ctx context.Context) (err error) {
	if err := statedir.Make(p.conf.Dir); err != nil {
		return err
	}
	if p.identity, err = certs.LoadIdentity(p.path("identity")); err != nil {
		return err
	}
	if _, err = preflight.OwnName(p.identity, catalog.RoleProxy, "", p.conf.Dir); err != nil {
		return exitcode.Misuse(err)
	}
	if len(p.conf.Proxy.Join) == 0 || p.joined() {
		return nil
	}
	hello, err := p.hello(ctx)
	if err != nil {
		return err
	}
	o := membership.JoinOptions{
		Identity: p.identity, Servers: p.conf.Proxy.Join, Member: p.proxyTLS(nil), Hello: hello, Code: p.options.Code,
		Patience: membership.RefusedPause, Progress: p.progress, Logger: p.log,
	}
	if p.conf.Proxy.Fingerprint == "" {
		return exitcode.Misuse(errors.New("the cluster's fingerprint is missing: give --fingerprint as its proxies print it"))
	}
	if o.Pinned, err = certs.PinnedClientTLS(p.conf.Proxy.Fingerprint); err != nil {
		return exitcode.Misuse(err)
	}
	if _, err = membership.Join(ctx, o); err != nil {
		return err
	}
	part, err := membership.AskReplica(ctx, o)
	if err != nil {
		return err
	}
	if err := keepKey(p.path("identity", "catalog.key"), part.Key); err != nil {
		return err
	}
	p.joining = &part.Joining
	return nil
}

// joined reports whether this proxy has the catalog of a cluster.
func (p *Proxy) joined() bool {
	if len(p.conf.Catalog.Endpoints) > 0 {
		_, err := os.Stat(p.path("identity", "catalog.key"))
		return err == nil
	}
	return catalog.Exists(p.path("catalog"))
}

// keepKey writes the key that seals the catalog's secrets. One of another cluster
// is set aside: a backup of that is worth nothing without it.
func keepKey(path string, key []byte) error {
	old, err := os.ReadFile(path)
	switch {
	case err == nil && string(old) == string(key):
		return nil
	case err == nil:
		if err := os.Rename(path, path+".former"); err != nil {
			return fmt.Errorf("set the former catalog's key aside: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read the catalog's key: %w", err)
	}
	return statedir.WriteKey(path, key)
}

// progress tells the person in front of this machine what to do in front of another.
func (p *Proxy) progress(now membership.Progress) {
	switch now.State {
	case membership.Waiting:
		p.log.Info("waiting for acceptance: compare the key fingerprint, then run portico accept "+p.conf.Proxy.Name+" at that proxy",
			"proxy", now.Server, "key_fingerprint", now.Fingerprint)
	case membership.TurnedAway:
		p.log.Warn("refused, knocking again now and then: run portico accept "+p.conf.Proxy.Name+" at that proxy to let this one in, or stop this one",
			"proxy", now.Server, "key_fingerprint", now.Fingerprint, "error", now.Err)
	case membership.Welcome:
		p.log.Info("accepted", "proxy", now.Server, "key_fingerprint", now.Fingerprint)
	case membership.Unreachable, membership.Offline:
		p.log.Warn("no part in the catalog yet, trying again", "proxy", now.Server, "error", now.Err)
	default:
		p.log.Info("knocking", "proxy", now.Server, "key_fingerprint", now.Fingerprint)
	}
}

// proxyTLS is the client's side towards the admin listener of another proxy.
func (p *Proxy) proxyTLS(check certs.Check) *tls.Config {
	c := p.identity.ClientConfig(catalog.RoleProxy, "", check)
	c.ServerName = certs.MemberServerName
	return c
}

// catalogPeers says how the other proxies reach this one's catalog.
func (p *Proxy) catalogPeers(ctx context.Context) (*catalog.Peers, error) {
	hello, err := p.hello(ctx)
	if err != nil {
		return nil, err
	}
	file := func(name string) string { return p.path("identity", name) }
	return &catalog.Peers{
		Listen: p.conf.Catalog.Address, Advertise: hello.Catalog, Join: p.joining,
		Cert: file("certificate.pem"), Key: file("key.pem"), CA: file("ca.pem"),
		ServerTLS: func(check func(catalog.Role, string, string) error) *tls.Config {
			return p.identity.CatalogConfig(check)
		},
		ClientTLS: func(name string, check func(catalog.Role, string, string) error) *tls.Config {
			return p.identity.ClientConfig(catalog.RoleProxy, name, check)
		},
		Peer: func(state tls.ConnectionState) (catalog.Role, string, string) {
			peer, fingerprint, _ := certs.PeerOf(state)
			return peer.Role, peer.Name, fingerprint
		},
	}, nil
}
