package frontdoor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"portico/certs"
	"portico/internal/pause"
	"portico/membership/catalog"
	"portico/proxy/admin/proxies"
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
		config.ServerName = certs.MemberServerName
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

// answerPeer answers what another proxy asks of the admin handler.
func (p *Proxy) answerPeer(what string, in json.RawMessage) (any, error) {
	return p.admin.AnswerPeer(what, in)
}

const (
	maxRelocated   = 4096                   // sessions that wait to be told; more are forgotten, and end where they were
	relocatedPause = 200 * time.Millisecond // gathers what a dying server moves at once
)

// relocated notes that a session has moved, for tellRelocated. It never waits.
func (p *Proxy) relocated(session uint64, instance string) {
	select {
	case p.moved <- proxies.Moved{ID: proxies.SessionID(session), Instance: instance, At: time.Now()}:
	default:
	}
}

// tellRelocated tells the other proxies which sessions have moved, until ctx ends.
func (p *Proxy) tellRelocated(ctx context.Context) {
	for {
		var list []proxies.Moved
		select {
		case <-ctx.Done():
			return
		case m := <-p.moved:
			list = append(list, m)
		}
		_ = pause.For(ctx, relocatedPause)
		for more := true; more; {
			select {
			case m := <-p.moved:
				list = append(list, m)
			default:
				more = false
			}
		}
		p.admin.MovedSessions(ctx, list)
	}
}
