package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

// Enroll makes the proxy that holds the catalog a member: it is accepted without
// a knock, and has a certificate when Enroll returns. Called at each start and now
// and then, it renews the certificate in time and keeps the record's addresses and
// version current. A new key takes the place of the former one: who holds the
// catalog has lost or restored its identity folder. In a new cluster Enroll makes
// the keys that members share.
func Enroll(ctx context.Context, c *catalog.Catalog, a Authority, id Identity, h Hello, now time.Time) error {
	h.ID, h.Role = id.ID(), catalog.RoleProxy
	csr, err := id.CSR(h.Name)
	if err != nil {
		return fmt.Errorf("enroll proxy %q: %w", h.Name, err)
	}
	var der []byte
	_, err = c.Update(ctx, func(tx *catalog.Tx) error {
		der = nil
		before, err := tx.Member(h.Name)
		if err != nil && !errors.Is(err, catalog.ErrNotFound) {
			return err
		}
		m := *record(Knock{Hello: h}, id.Fingerprint(), now.UTC())
		m.Certificate = before.Certificate
		if m, err = command.EnrolProxy(tx, m, now); err != nil {
			return err
		}
		if before.Admission != catalog.Accepted || !sameHello(before, m) || id.NeedsRenewal(now) || !id.Holds(h.Name, a.Certificate()) {
			if der, err = a.SignMember(csr, m, now); err != nil {
				return err
			}
			m.Certificate = der
			if err := tx.PutMember(m); err != nil {
				return err
			}
		}
		return sharedKeys(tx, now)
	})
	if err == nil && der != nil {
		err = id.SetCertificate(der, a.Certificate())
	}
	if err != nil {
		return fmt.Errorf("enroll proxy %q: %w", h.Name, err)
	}
	return nil
}

// sharedKeys makes the keys that the cluster shares where there are none yet.
func sharedKeys(tx *catalog.Tx, now time.Time) error {
	for name, store := range map[string]func(key []byte) error{
		command.SecretSession: func(key []byte) error { return command.RotateSessionKey(tx, key, now) },
		command.SecretGossip:  func(key []byte) error { return command.RotateGossipKey(tx, key) },
	} {
		_, err := tx.Secret(name)
		if !errors.Is(err, catalog.ErrNotFound) {
			if err != nil {
				return err
			}
			continue
		}
		key, err := newKey()
		if err != nil {
			return err
		}
		if err := store(key); err != nil {
			return err
		}
	}
	return nil
}
