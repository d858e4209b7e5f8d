package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"portico/balancer"
	"portico/proxy/origin"
)

// conn is the connection of one check, which has it for itself: it proves that the instance takes connections.
type conn struct {
	net.Conn
	raw   net.Conn // below TLS
	http2 bool     // the instance speaks HTTP/2
}

// dial makes a connection for a health check.
func dial(ctx context.Context, o *origin.Origin) (*conn, error) {
	if o.Distrusted() {
		return nil, fmt.Errorf("%w: its member is not trusted any more", origin.ErrDial)
	}
	ctx, cancel := context.WithTimeout(ctx, o.Connect)
	defer cancel()
	c, err := connect(ctx, o.Addr, o.CheckTLS())
	if err == nil {
		c.http2 = o.HTTP2
	}
	return c, err
}

// connect makes a connection that is nobody else's. Nil config: without TLS.
func connect(ctx context.Context, addr string, config *tls.Config) (*conn, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil && exhausted(err) {
		return nil, fmt.Errorf("%w: %w", errExhausted, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", origin.ErrDial, err)
	}
	if config == nil {
		return &conn{Conn: raw, raw: raw}, nil
	}
	t := tls.Client(raw, config)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("%w: TLS: %w", origin.ErrDial, err)
	}
	return &conn{Conn: t, raw: raw}, nil
}

// discard closes the connection. It says nothing over TLS: the alert could block on a dead peer.
func (c *conn) discard() { _ = c.raw.Close() }

// get asks for a path and returns the answer. No more than limit bytes are read of it; less than 0: as many as come.
func (c *conn) get(ctx context.Context, host, target string, limit int64) (*http.Response, error) {
	if at, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(at)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	r := &http.Request{
		Method: http.MethodGet, URL: &url.URL{Opaque: target}, Host: host, Close: true,
		Header: http.Header{"User-Agent": {"portico-check"}, "Accept": {"*/*"}},
	}
	if c.http2 {
		return c.getHTTP2(r.WithContext(ctx), target)
	}
	if err := r.Write(c); err != nil {
		return nil, err
	}
	from := io.Reader(c)
	if limit >= 0 {
		from = io.LimitReader(c, limit)
	}
	in := bufio.NewReader(from)
	for {
		a, err := http.ReadResponse(in, r)
		if err != nil || a.StatusCode >= http.StatusOK || a.StatusCode == http.StatusSwitchingProtocols {
			return a, err
		}
	}
}

// getHTTP2 is get for an instance that speaks HTTP/2, with prior knowledge: TLS, where there is some, is between proxy and agent.
func (c *conn) getHTTP2(r *http.Request, target string) (*http.Response, error) {
	t := &http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return c, nil },
		Protocols:              new(http.Protocols),
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHead,
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	r.URL, r.Close = &url.URL{Scheme: "http", Host: "instance", Opaque: target}, false
	return t.RoundTrip(r)
}

// stays tells a TCP check through an agent whether the instance was there: the
// agent takes the connection by itself and drops it when it finds nobody.
func (c *conn) stays() balancer.Evidence {
	defer c.discard()
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	var b [1]byte
	_, err := c.Read(b[:])
	if err == nil || isTimeout(err) {
		return balancer.Evidence{OK: true, Code: "L4OK"}
	}
	return balancer.Evidence{Code: "L4CON", Detail: "connection closed by the agent"}
}

// errExhausted is about this machine and says nothing of the instance.
var errExhausted = errors.New("this machine has no descriptors, ports or memory left for a connection")

// exhausted reports whether err is about this machine and says nothing of the
// instance.
func exhausted(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.EADDRNOTAVAIL, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// isTimeout reports whether err is a deadline that passed.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}
