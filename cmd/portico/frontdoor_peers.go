package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"portico/membership/catalog"
)

// peerClients are the clients of the other proxies' admin listeners, kept so that a
// question does not begin with a handshake.
type peerClients struct {
	tls func(name string) *tls.Config

	mu      sync.Mutex
	clients map[string]*http.Client // by name and address; guarded by mu
}

const (
	peerDial = 3 * time.Second  // to reach a proxy
	peerIdle = 30 * time.Second // an unused connection is kept this long
)

func newPeerClients(tls func(name string) *tls.Config) *peerClients {
	return &peerClients{tls: tls, clients: map[string]*http.Client{}}
}

// client returns the client of a proxy, and the URL to put in front of a path.
func (p *peerClients) client(m catalog.Member) (*http.Client, string, error) {
	if m.Addr == "" {
		return nil, "", fmt.Errorf("proxy %s has told no address", m.Name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := m.Name + " " + m.Addr
	c := p.clients[key]
	if c == nil {
		config := p.tls(m.Name)
		config.ServerName = memberServerName
		c = &http.Client{
			Transport: &http.Transport{
				DialContext: (&net.Dialer{Timeout: peerDial}).DialContext, TLSClientConfig: config,
				TLSHandshakeTimeout: peerDial, MaxIdleConnsPerHost: 4, IdleConnTimeout: peerIdle,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		p.clients[key] = c
	}
	return c, "https://" + m.Addr, nil
}

// close ends the connections that nobody uses; the others end with their requests.
func (p *peerClients) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		c.CloseIdleConnections()
	}
}
