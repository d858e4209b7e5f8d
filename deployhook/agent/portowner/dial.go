package portowner

import (
	"context"
	"fmt"
	"net"
)

// Dialer makes connections whose other end belongs to somebody who is allowed.
type Dialer struct {
	net.Dialer

	// Allow is given the user id at the other end of each new connection; its
	// error closes the connection and comes back in a *ForeignError. Connections
	// to other machines have no user and are not asked about. Nil: anybody may
	// answer.
	Allow func(uid int) error
}

// DialContext connects to addr.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.Dialer.DialContext(ctx, network, addr)
	if err != nil || d.Allow == nil {
		return conn, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok || !withinMachine(tcp) {
		return conn, nil
	}
	uid, err := Peer(tcp)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("ask who answers at %s: %w", addr, err)
	}
	if err := d.Allow(uid); err != nil {
		_ = conn.Close()
		return nil, &ForeignError{Addr: addr, UID: uid, Err: err}
	}
	return conn, nil
}

// withinMachine reports whether both ends of a connection are on this machine.
func withinMachine(c *net.TCPConn) bool {
	local, _ := c.LocalAddr().(*net.TCPAddr)
	remote, _ := c.RemoteAddr().(*net.TCPAddr)
	return local != nil && remote != nil && (remote.IP.IsLoopback() || remote.IP.Equal(local.IP))
}
