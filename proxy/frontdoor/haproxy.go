package frontdoor

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"portico/balancer/seal"
	"portico/certs"
	"portico/conf"
	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/proxy/haproxy"
	"portico/proxy/site"
)

// haproxyOptions is what an export needs beyond the view.
func (p *Proxy) haproxyOptions() haproxy.Options {
	o := haproxy.Options{Version: p.options.Version, Proxy: p.conf.Proxy, Certified: p.certs.HasCertificate}
	if keys, err := sessionKeys(p.catalog); err == nil {
		if sealer, err := seal.NewSealer("", keys); err == nil { // an instance's tokens are the same for every site
			o.Tokens = sealer.Tokens
		}
	}
	for _, s := range p.web.Static() {
		o.Static = append(o.Static, staticSite(s))
	}
	return o
}

// staticSite is a site of the configuration in the words of the export.
func staticSite(s conf.Site) haproxy.StaticSite {
	out := haproxy.StaticSite{Name: s.Name, Settings: s.Settings()}
	for _, u := range s.Upstreams {
		out.Servers = append(out.Servers, haproxy.StaticServer{
			ID: site.UpstreamID(s.Name, u.Name), Name: u.Name, Addr: u.Addr, Weight: u.Weight, Backup: u.Backup, Drain: u.Drain, Connections: u.Connections, Zone: u.Zone,
		})
	}
	return out
}

// clientCertificate makes an exported HAProxy a member like any proxy, but one
// that nobody asks anything of: it has no address. Revoking it takes its
// access away.
func (p *Proxy) clientCertificate(ctx context.Context, name string, csr []byte, by string) (client, ca []byte, err error) {
	_, fingerprint, err := certs.ParseCSR(csr)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", catalog.ErrInvalid, err)
	}
	if err := sites.ValidName("member", name); err != nil {
		return nil, nil, err
	}
	now := time.Now()
	var leaf []byte
	_, err = p.catalog.Update(ctx, func(tx *catalog.Tx) error {
		m, err := tx.Member(name)
		switch {
		case errors.Is(err, catalog.ErrNotFound):
			m = catalog.Member{Name: name, Role: catalog.RoleProxy, Knocked: now}
		case err != nil:
			return err
		case m.Fingerprint != fingerprint && m.Admission == catalog.Accepted || m.Role != catalog.RoleProxy || m.Addr != "":
			return fmt.Errorf("%w: another key has the name %q: export to the folder that holds its client.key, choose another name with --as, or revoke %s first",
				catalog.ErrConflict, name, name)
		case m.Admission == catalog.Revoked && m.Fingerprint == fingerprint: // an export that goes on by itself takes nothing back
			return fmt.Errorf("%w: %q was revoked, and its key stays so: portico members forget %s lets it in again",
				catalog.ErrConflict, name, name)
		}
		m.Admission, m.Admin, m.Fingerprint, m.Decided, m.By = catalog.Accepted, catalog.AdminReady, fingerprint, now, by
		m.Version, m.Platform, m.Reason = p.options.Version, "haproxy", ""
		if leaf, err = p.authority.SignMember(csr, m, now); err != nil {
			return err
		}
		return tx.PutMember(m)
	})
	if err != nil {
		return nil, nil, err
	}
	return certificatePEM(leaf), certificatePEM(p.authority.Certificate()), nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
