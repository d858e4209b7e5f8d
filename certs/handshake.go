package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
)

// maxLookups bounds the challenges that are looked up in the catalog at a time:
// anybody can pretend to be a certificate authority.
const maxLookups = 16

// ErrNoCertificate reports a handshake for a host without a certificate.
var ErrNoCertificate = errors.New("no certificate for this host")

// normalHost brings a name into the form that the catalog has it in.
func normalHost(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// getCertificate chooses the certificate for a handshake: a file, the directory's,
// the cluster's.
func (m *Manager) getCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := normalHost(hello.ServerName)
	if slices.Equal(hello.SupportedProtos, []string{acmez.ACMETLS1Protocol}) {
		return m.answerALPN(hello, name)
	}
	m.mu.RLock()
	file, first, h, issued := m.fileForLocked(name), m.first, m.hosts[name], m.internal[name]
	m.mu.RUnlock()
	switch {
	case file != nil:
		return file, nil
	case name == "" && first != nil:
		return first, nil
	case h == nil:
		if h = m.wildcard(name); h == nil {
			return nil, fmt.Errorf("%w: %.100q", ErrNoCertificate, name)
		}
	}
	switch h.source {
	case fromInternal:
		if issued != nil && fresh(issued.Leaf) {
			return issued, nil
		}
		return m.issueInternal(name)
	case fromACME:
		if c := m.cached(name); c != nil {
			return c, nil
		}
		return m.load(hello, h)
	}
	return nil, fmt.Errorf("%w: %.100q: %s", ErrNoCertificate, name, h.reason)
}

// wildcard returns the site's host "*.parent" that covers name and whose
// certificates the cluster issues; a directory has none for wildcards.
func (m *Manager) wildcard(name string) *host {
	_, parent, ok := strings.Cut(name, ".")
	if !ok {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.hosts["*."+parent]
}

// cached returns the newest certificate for a name that certmagic has at hand.
func (m *Manager) cached(name string) *tls.Certificate {
	var best *certmagic.Certificate
	for _, c := range m.cache.AllMatchingCertificates(name) {
		if c.Leaf != nil && (best == nil || c.Leaf.NotAfter.After(best.Leaf.NotAfter)) {
			best = &c
		}
	}
	if best == nil {
		return nil
	}
	return &best.Certificate
}

// loadPatience is how long a visitor waits for a certificate to come from the catalog. His connection's deadline does not end that.
const loadPatience = 10 * time.Second

// load brings a certificate from the catalog, for a visitor who came before run got
// to it after a start. One that does not exist yet is not waited for.
func (m *Manager) load(hello *tls.ClientHelloInfo, h *host) (*tls.Certificate, error) {
	m.mu.RLock()
	loaded, err := h.loaded, h.err
	m.mu.RUnlock()
	if !loaded {
		if done, ok := m.lookup(h.name); ok {
			ctx, cancel := context.WithTimeout(hello.Context(), loadPatience)
			_, _ = m.obtain.CacheManagedCertificate(ctx, h.name)
			cancel()
			done()
		}
	}
	if c := m.cached(h.name); c != nil {
		return c, nil
	}
	m.kick(h.name)
	if err != nil {
		return nil, fmt.Errorf("%w: %q: the last attempt to get one failed: %w", ErrNoCertificate, h.name, err)
	}
	return nil, fmt.Errorf("%w: %q: it is being asked for", ErrNoCertificate, h.name)
}

// issueInternal has the cluster's authority issue a certificate.
func (m *Manager) issueInternal(name string) (*tls.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.internal[name]; c != nil && fresh(c.Leaf) {
		return c, nil
	}
	c, err := m.o.Authority.IssueServer([]string{name})
	if err != nil {
		return nil, err
	}
	if len(m.internal) >= maxHosts {
		clear(m.internal) // names under a wildcard are for strangers to choose
	}
	m.internal[name] = c
	return c, nil
}

// fresh reports whether more than a third of a certificate's life is left.
func fresh(leaf *x509.Certificate) bool {
	return leaf.NotAfter.Sub(now()) > serverLife/3
}

// answerALPN answers a TLS-ALPN challenge for a host that we ask a certificate
// for; everybody else is sent away without a look-up.
func (m *Manager) answerALPN(hello *tls.ClientHelloInfo, name string) (*tls.Certificate, error) {
	done, ok := m.lookup(name)
	if !ok {
		return nil, fmt.Errorf("%w: no challenge for %.100q", ErrNoCertificate, name)
	}
	defer done()
	return m.obtain.GetCertificate(hello)
}

// lookup reserves the right to look a challenge up, if there can be one.
func (m *Manager) lookup(name string) (done func(), ok bool) {
	m.mu.RLock()
	h := m.hosts[name]
	m.mu.RUnlock()
	if h == nil || h.source != fromACME {
		return nil, false
	}
	select {
	case m.lookups <- struct{}{}:
		return func() { <-m.lookups }, true
	default:
		return nil, false
	}
}

// challengePath is where HTTP-01 challenges are answered, RFC 8555 section 8.3.
const challengePath = "/.well-known/acme-challenge/"

// HTTPChallengeHandler answers HTTP-01 challenges of any proxy of the cluster and
// hands everything else to next. While certificates are asked from a directory,
// nothing under the challenges' path reaches a site.
func (m *Manager) HTTPChallengeHandler(next http.Handler) http.Handler {
	if m.issuer == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, challengePath) {
			next.ServeHTTP(w, r)
			return
		}
		name := r.Host
		if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.HasSuffix(name, "]") {
			name = name[:i]
		}
		done, ok := m.lookup(normalHost(name))
		if !ok {
			http.NotFound(w, r)
			return
		}
		defer done()
		if !m.issuer.HandleHTTPChallenge(w, r) {
			http.NotFound(w, r)
		}
	})
}
