package members

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

type clientKey struct {
	role catalog.Role
	messages.Peer
}

// client returns the HTTP client for one member, kept while the member is known.
func (m *Members) client(role catalog.Role, x messages.Peer) *http.Client {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := clientKey{role, x}
	if c := m.clients[k]; c != nil {
		return c
	}
	var config *tls.Config
	if m.o.ClientTLS != nil {
		config = m.o.ClientTLS(role, x.Name)
	}
	c := &http.Client{
		Transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				return m.made.dial(ctx, addr, config)
			},
			MaxIdleConnsPerHost:   4,
			IdleConnTimeout:       90 * time.Second,
			ResponseHeaderTimeout: pollWait + pollSlack,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	m.clients[k] = c
	return c
}
