package certs

import (
	"time"

	"portico/membership/catalog"
)

const (
	// soonest is how long before its end a certificate of ninety days is worth a warning: it should
	// have been renewed nine days before that. Short ones have a quarter of their life.
	soonest = 21 * 24 * time.Hour

	expiryLook = time.Hour      // between two looks at all certificates
	expiryTold = 24 * time.Hour // between two warnings of one host
)

// EndsSoon reports whether the certificate has run out or will, and nothing has replaced it by the
// time by which it should have been. Those of the cluster's authority are made anew when a visitor comes.
func (s *Status) EndsSoon(at time.Time) bool {
	if s.NotAfter.IsZero() || s.Source == "internal" {
		return false
	}
	return s.NotAfter.Sub(at) < min(soonest, s.NotAfter.Sub(s.NotBefore)/4)
}

// watchExpiry warns of certificates that end soon, once a day each, until Close.
func (m *Manager) watchExpiry() {
	t := time.NewTicker(expiryLook)
	defer t.Stop()
	told := map[string]time.Time{}
	select {
	case <-m.synced: // before, no host is known
	case <-m.ctx.Done():
		return
	}
	for {
		m.warn(told, now())
		select {
		case <-t.C:
		case <-m.ctx.Done():
			return
		}
	}
}

// warn logs a line for each certificate that ends soon and was not told of within a day.
func (m *Manager) warn(told map[string]time.Time, at time.Time) {
	for _, s := range m.Status() {
		last, before := told[s.Host]
		if !s.EndsSoon(at) || before && at.Sub(last) < expiryTold {
			continue
		}
		told[s.Host] = at
		remedy := "it is renewed by itself once what the error says is repaired"
		if s.Source == "file" {
			remedy = "put a new one into the files of tls.certificates, and reload"
		}
		text := "certificate ends soon"
		if at.After(s.NotAfter) {
			text = "certificate has ended"
		}
		m.logger.Warn(text, "host", s.Host, "ends", s.NotAfter.UTC().Format(time.RFC3339), "source", s.Source, "error", s.Error, "remedy", remedy)
	}
}

// Refresh is Sync for who is about to read Status; before the first Sync it does nothing.
func (m *Manager) Refresh(v *catalog.View) {
	select {
	case <-m.synced:
		m.Sync(v)
	default:
	}
}
