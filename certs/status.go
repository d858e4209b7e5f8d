package certs

import (
	"cmp"
	"crypto/tls"
	"slices"
	"time"
)

// Status is how one host stands.
type Status struct {
	Host      string    `json:"host"`
	Source    string    `json:"source"`             // "acme", "file", "internal", "none"
	Issuer    string    `json:"issuer,omitempty"`   // common name of who signed
	NotAfter  time.Time `json:"not_after,omitzero"` // zero: there is no certificate
	NotBefore time.Time `json:"not_before,omitzero"`
	Error     string    `json:"error,omitempty"` // why there is none, or why it was not renewed
	Next      time.Time `json:"next,omitzero"`   // when it is tried again
}

// Status returns how every host stands, sorted by name.
func (m *Manager) Status() []Status {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]Status, 0, len(m.hosts))
	for _, h := range m.hosts {
		out = append(out, m.statusLocked(h))
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Host, b.Host) })
	return out
}

// StatusOf returns how those of the hosts stand that sites have, in the order in which they are asked for.
func (m *Manager) StatusOf(hosts []string) []Status {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []Status
	for _, name := range hosts {
		if h := m.hosts[name]; h != nil {
			out = append(out, m.statusLocked(h))
		}
	}
	return out
}

// statusLocked returns how one host stands. m.mu is held.
func (m *Manager) statusLocked(h *host) Status {
	s := Status{Host: h.name, Error: h.reason}
	var c *tls.Certificate
	switch {
	case m.fileForLocked(h.name) != nil:
		s.Source, c, s.Error = "file", m.fileForLocked(h.name), ""
	case h.source == fromInternal:
		s.Source, c = "internal", m.internal[h.name]
	case h.source == fromACME:
		s.Source, c, s.Next = "acme", m.cached(h.name), h.next
		if h.err != nil {
			s.Error = h.err.Error()
		}
	default:
		s.Source = "none"
	}
	if c != nil && c.Leaf != nil {
		s.NotBefore, s.NotAfter = c.Leaf.NotBefore, c.Leaf.NotAfter
		s.Issuer = cmp.Or(c.Leaf.Issuer.CommonName, c.Leaf.Issuer.String())
	}
	return s
}

// HasCertificate reports whether a handshake for host would succeed now with a
// certificate that has not run out. Redirects to HTTPS depend on it.
func (m *Manager) HasCertificate(host string) bool {
	host = normalHost(host)
	m.mu.RLock()
	defer m.mu.RUnlock()
	if c := m.fileForLocked(host); c != nil {
		return now().Before(c.Leaf.NotAfter)
	}
	h := m.hosts[host]
	if h == nil {
		return false
	}
	switch h.source {
	case fromInternal:
		return true // issued at the first handshake
	case fromACME:
		c := m.cached(host)
		return c != nil && now().Before(c.Leaf.NotAfter)
	}
	return false
}
