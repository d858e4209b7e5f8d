package agent

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// asked are the connections that the agent has made to other members. Who is at the
// other end was found at the handshake, and they are kept for long: a proxy that is
// revoked must not say on an old one what this machine should run.
type asked struct {
	identify func(tls.ConnectionState) error // nil: everybody is known

	mu   sync.Mutex
	open map[*askedConn]*tls.Conn // guarded by mu
}

// askedConn is the connection below TLS.
type askedConn struct {
	net.Conn
	of *asked
}

// Close implements net.Conn.
func (c *askedConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// dial makes a connection with a handshake, for an http.Transport.
func (a *asked) dial(ctx context.Context, addr string, config *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTime)
	defer cancel()
	raw, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if config == nil {
		config = new(tls.Config)
	}
	if config = config.Clone(); config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	c := &askedConn{Conn: raw, of: a}
	t := tls.Client(c, config)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	if a.identify == nil {
		return t, nil
	}
	a.mu.Lock()
	if a.open == nil {
		a.open = map[*askedConn]*tls.Conn{}
	}
	a.open[c] = t
	a.mu.Unlock()
	if err := a.identify(t.ConnectionState()); err != nil { // behind the note, so that recheck misses nobody
		_ = c.Close()
		return nil, err
	}
	return t, nil
}

// recheck cuts the connections to members that are not accepted any more, whatever is on its way on them.
func (a *asked) recheck() {
	a.mu.Lock()
	list := make(map[*askedConn]*tls.Conn, len(a.open))
	for c, t := range a.open {
		list[c] = t
	}
	a.mu.Unlock()
	for c, t := range list {
		if a.identify(t.ConnectionState()) != nil {
			_ = c.Close()
		}
	}
}
