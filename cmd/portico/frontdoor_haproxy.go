package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"portico/balancer"
	"portico/certs"
	"portico/membership/catalog"
	"portico/proxy/haproxy"
)

// haproxyOptions is what an export needs beyond the view.
func (f *frontDoor) haproxyOptions() haproxy.Options {
	o := haproxy.Options{Version: buildVersion(), Certified: f.certs.HasCertificate, Body: 64 << 20}
	if keys, err := sessionKeys(f.catalog); err == nil {
		o.Token = func(instanceID string) string { return balancer.NewToken(keys[0].Secret, instanceID).String() }
	}
	for _, s := range f.conf.Sites {
		o.Static = append(o.Static, staticSite(s))
	}
	return o
}

// clientCertificate makes an exported HAProxy a member like any proxy, but one
// that nobody asks anything of: it has no address. Revoking it takes its
// access away.
func (f *frontDoor) clientCertificate(ctx context.Context, name string, csr []byte, by string) (client, ca []byte, err error) {
	_, fingerprint, err := certs.ParseCSR(csr)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", catalog.ErrInvalid, err)
	}
	if err := catalog.ValidName("member", name); err != nil {
		return nil, nil, err
	}
	now := time.Now()
	var leaf []byte
	_, err = f.catalog.Update(ctx, func(tx *catalog.Tx) error {
		m, err := tx.Member(name)
		switch {
		case errors.Is(err, catalog.ErrNotFound):
			m = catalog.Member{Name: name, Role: catalog.RoleProxy, Knocked: now}
		case err != nil:
			return err
		case m.Fingerprint != fingerprint && m.Admission == catalog.Accepted || m.Role != catalog.RoleProxy || m.Addr != "":
			return fmt.Errorf("%w: another key has the name %q: export to the folder that holds its client.key, choose another name with --as, or revoke %s first",
				catalog.ErrConflict, name, name)
		}
		m.Admission, m.Admin, m.Fingerprint, m.Decided, m.By = catalog.Accepted, catalog.AdminReady, fingerprint, now, by
		m.Version, m.Platform, m.Reason = buildVersion(), "haproxy", ""
		if leaf, err = f.authority.SignMember(csr, m, now); err != nil {
			return err
		}
		return tx.PutMember(m)
	})
	if err != nil {
		return nil, nil, err
	}
	return certificatePEM(leaf), certificatePEM(f.authority.Certificate()), nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
