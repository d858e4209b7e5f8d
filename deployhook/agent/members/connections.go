package members

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// dialTime is how long a connection may take, and its handshake the same.
const dialTime = 5 * time.Second

// connections are those that the agent has made to other members. Who is at the
// other end was found at the handshake, and they are kept for long: a proxy that is
// revoked must not say on an old one what this machine should run.
type connections struct {
	identify func(tls.ConnectionState) error // nil: everybody is known

	mu   sync.Mutex
	open map[*connection]*tls.Conn // guarded by mu
}

// connection is the connection below TLS.
type connection struct {
	net.Conn
	of *connections
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// dial makes a connection with a handshake, for an http.Transport.
func (s *connections) dial(ctx context.Context, addr string, config *tls.Config) (net.Conn, error) {
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
	c := &connection{Conn: raw, of: s}
	t := tls.Client(c, config)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	if s.identify == nil {
		return t, nil
	}
	s.mu.Lock()
	if s.open == nil {
		s.open = map[*connection]*tls.Conn{}
	}
	s.open[c] = t
	s.mu.Unlock()
	if err := s.identify(t.ConnectionState()); err != nil { // behind the note, so that recheck misses nobody
		_ = c.Close()
		return nil, err
	}
	return t, nil
}

// recheck cuts the connections to members that are not accepted any more, whatever is on its way on them.
func (s *connections) recheck() {
	s.mu.Lock()
	list := make(map[*connection]*tls.Conn, len(s.open))
	for c, t := range s.open {
		list[c] = t
	}
	s.mu.Unlock()
	for c, t := range list {
		if s.identify(t.ConnectionState()) != nil {
			_ = c.Close()
		}
	}
}
