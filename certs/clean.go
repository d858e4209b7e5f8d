package certs

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

const (
	// keepExpired is how long after its end a certificate of a host that no site
	// has any more lies in the catalog: a site that comes back within its life and
	// this time needs no new one at once.
	keepExpired = 30 * 24 * time.Hour
	cleanEvery  = 24 * time.Hour
	cleanTime   = time.Minute // for one round
)

// storedCerts is the folder in which certmagic keeps certificates:
// AUTHORITY/HOST/HOST.crt, .key and .json.
const storedCerts = "certificates"

// cleanUp deletes what nobody needs, once the catalog's sites are known and then
// every day, until Close.
func (m *Manager) cleanUp() {
	select {
	case <-m.synced:
	case <-m.ctx.Done():
		return
	}
	timer := time.NewTicker(cleanEvery)
	defer timer.Stop()
	for {
		ctx, cancel := context.WithTimeout(m.ctx, cleanTime)
		err := m.clean(ctx)
		cancel()
		if err != nil && m.ctx.Err() == nil {
			m.logger.Warn("old certificates not deleted", "error", err, "next", now().Add(cleanEvery))
		}
		select {
		case <-timer.C:
		case <-m.ctx.Done():
			return
		}
	}
}

// clean deletes certificates that ended long ago, with their keys. Those of hosts
// that sites have are left alone, whatever their age: another proxy may be about
// to write a new one there.
func (m *Manager) clean(ctx context.Context) error {
	keys, err := m.o.Catalog.Storage().List(ctx, storedCerts, true)
	if err != nil {
		return fmt.Errorf("list certificates: %w", err)
	}
	var errs []error
	for _, key := range keys {
		if base, ok := strings.CutSuffix(key, ".crt"); ok && !m.has(path.Base(base)) {
			errs = append(errs, m.cleanOne(ctx, base))
		}
	}
	return errors.Join(errs...)
}

// has reports whether a site has the host.
func (m *Manager) has(host string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.hosts[host] != nil
}

func (m *Manager) cleanOne(ctx context.Context, base string) error {
	store := m.o.Catalog.Storage()
	text, err := store.Get(ctx, base+".crt")
	if err != nil {
		return notExist(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("certificate %s: it is not PEM", base)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", base, err)
	}
	if now().Sub(leaf.NotAfter) < keepExpired {
		return nil
	}
	for _, ext := range []string{".key", ".json", ".crt"} { // the one that leads here last
		if err := store.Delete(ctx, base+ext); err != nil {
			return fmt.Errorf("delete certificate %s: %w", base, err)
		}
	}
	m.logger.Info("old certificate deleted", "host", path.Base(base), "ended", leaf.NotAfter, "why", "no site has the host any more")
	return nil
}
