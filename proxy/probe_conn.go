package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"portico/balancer"
)

// probeConn is the connection of one check, which has it for itself: it proves that the instance takes connections.
type probeConn struct {
	net.Conn
	raw net.Conn // below TLS
}

// resumes returns a configuration whose connections resume the TLS session of the one
// before, which spares both sides the signatures, and exchange keys by the cheapest means: what a
// check says is no secret that has to last. Who the other side is, and whether the
// cluster still knows it, is verified all the same.
func resumes(c *tls.Config) *tls.Config {
	if c == nil {
		return nil
	}
	c = c.Clone()
	c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
	return c
}

// forCheck makes a connection for a health check.
func (o *origin) forCheck(ctx context.Context) (*probeConn, error) {
	if o.distrusted() {
		return nil, fmt.Errorf("%w: its member is not trusted any more", errDial)
	}
	ctx, cancel := context.WithTimeout(ctx, o.connect)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", o.addr)
	if err != nil && exhausted(err) {
		return nil, fmt.Errorf("%w: %w", errExhausted, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDial, err)
	}
	if o.checkTLS == nil {
		return &probeConn{raw, raw}, nil
	}
	t := tls.Client(raw, o.checkTLS)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("%w: TLS: %w", errDial, err)
	}
	return &probeConn{t, raw}, nil
}

// discard closes the connection. It says nothing over TLS: the alert could block on a dead peer.
func (c *probeConn) discard() { _ = c.raw.Close() }

// get asks for a path and returns the answer, whose body is read no further than a check looks.
func (c *probeConn) get(ctx context.Context, host, target string) (*http.Response, error) {
	if at, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(at)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	r := &http.Request{
		Method: http.MethodGet, URL: &url.URL{Opaque: target}, Host: host, Close: true,
		Header: http.Header{"User-Agent": {"portico-check"}, "Accept": {"*/*"}},
	}
	if err := r.Write(c); err != nil {
		return nil, err
	}
	in := bufio.NewReader(io.LimitReader(c, probeHead+probeBody))
	for {
		a, err := http.ReadResponse(in, r)
		if err != nil || a.StatusCode >= http.StatusOK || a.StatusCode == http.StatusSwitchingProtocols {
			return a, err
		}
	}
}

// stays tells a TCP check through an agent whether the instance was there: the
// agent takes the connection by itself and drops it when it finds nobody.
func (c *probeConn) stays() balancer.Evidence {
	defer c.discard()
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	var b [1]byte
	_, err := c.Read(b[:])
	if err == nil || isTimeout(err) {
		return balancer.Evidence{OK: true, Code: "L4OK"}
	}
	return balancer.Evidence{Code: "L4CON", Detail: "connection closed by the agent"}
}
