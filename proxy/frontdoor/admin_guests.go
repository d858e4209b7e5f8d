package frontdoor

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"portico/internal/strangers"
)

// door lets strangers in, as many as there may be. Whoever shows a member's certificate, a token or a login that is good is one no more.
type door struct {
	net.Listener
	guests *strangers.Strangers
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &guest{Conn: c, stranger: d.guests.Enter(c)}, nil
}

// guest is a connection to the admin listener.
type guest struct {
	net.Conn
	stranger *strangers.Stranger
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.stranger.Leave()
	return g.Conn.Close()
}

type guestKey struct{}

// withGuest has requests know their connection.
func withGuest(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		return context.WithValue(ctx, guestKey{}, t.NetConn())
	}
	return ctx
}

// knownGuest notes that somebody whom the cluster knows has made a request.
func knownGuest(r *http.Request) {
	if g, ok := r.Context().Value(guestKey{}).(*guest); ok {
		g.stranger.Leave()
	}
}
