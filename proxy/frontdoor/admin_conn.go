package frontdoor

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"portico/internal/strangers"
)

// countedListener bounds how many connections there are of strangers. Whoever shows a good certificate of a member, a good token or a good
// login is one no more.
type countedListener struct {
	net.Listener
	strangers *strangers.Strangers
}

// Accept implements net.Listener.
func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &adminConn{Conn: c, stranger: l.strangers.Enter(c)}, nil
}

// adminConn is a connection to the admin listener.
type adminConn struct {
	net.Conn
	stranger *strangers.Stranger
}

// Close implements net.Conn.
func (c *adminConn) Close() error {
	c.stranger.Leave()
	return c.Conn.Close()
}

type connKey struct{}

// withConn lets the handlers of a connection's requests find it.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		return context.WithValue(ctx, connKey{}, t.NetConn())
	}
	return ctx
}

// knownConn notes that the cluster knows who makes the requests of a connection.
func knownConn(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*adminConn); ok {
		c.stranger.Leave()
	}
}
