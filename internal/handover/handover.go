// Package handover dresses a client's connection for whoever serves it next, after
// a driver of package http1 has accepted it and perhaps read from it.
package handover

import (
	"net"
	"sync"
)

// Client is a client's connection. It tells the address that a PROXY header named,
// and its own end.
type Client struct {
	net.Conn // nil: there is none; only Close may be called
	Remote   net.Addr
	Closed   func() // called once, by Close or Done; nil: nobody asks

	once sync.Once
}

// Done calls Closed, unless it has been called.
func (c *Client) Done() {
	c.once.Do(func() {
		if c.Closed != nil {
			c.Closed()
		}
	})
}

// Close implements net.Conn.
func (c *Client) Close() error {
	c.Done()
	if c.Conn == nil {
		return nil
	}
	return c.Conn.Close()
}

// CloseWrite ends our direction only, where the connection can.
func (c *Client) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// RemoteAddr implements net.Conn.
func (c *Client) RemoteAddr() net.Addr { return c.Remote }

// Prefixed returns a connection that gives what was already read of c before the
// rest, or c itself if that was nothing. It copies read.
func Prefixed(c net.Conn, read []byte) net.Conn {
	if len(read) == 0 {
		return c
	}
	return &prefixed{Conn: c, prefix: append([]byte(nil), read...)}
}

type prefixed struct {
	net.Conn
	prefix []byte
}

// Read implements net.Conn.
func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.prefix) > 0 {
		n := copy(b, p.prefix)
		p.prefix = p.prefix[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}
