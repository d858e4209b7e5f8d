package peers

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"

	"portico/internal/descriptors"
	"portico/internal/strangers"
)

// listener accepts the connections of the other proxies and knows all that are open.
type listener struct {
	net.Listener

	strangers *strangers.Strangers

	mu   sync.Mutex
	open map[*conn]struct{} // guarded by mu
}

// conn is one of them. On most of them one side only writes for as long as it
// lasts, so neither would notice by itself that the other is gone.
type conn struct {
	net.Conn
	in   *listener
	who  atomic.Pointer[peer] // nil before its first request
	new  *strangers.Stranger
	read atomic.Int64 // Unix nanoseconds of its beginning, and of the last time that something came
}

// A connection whose other side vanished ends after eight seconds.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 3}

func listen(addr string, log *slog.Logger) (*listener, error) {
	ln, err := (&net.ListenConfig{KeepAliveConfig: keepAlive}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	unknown := strangers.New("catalog", func() int { return descriptors.Share(8) }, log)
	return &listener{Listener: ln, strangers: unknown, open: map[*conn]struct{}{}}, nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: accepted, in: l, new: l.strangers.Enter(accepted)}
	c.read.Store(time.Now().UnixNano())
	l.mu.Lock()
	l.open[c] = struct{}{}
	l.mu.Unlock()
	return c, nil
}

// reset ends the connections of a proxy on which nothing has come since then, or ever. The other side learns of a reset at once. An orderly
// end would wait until what was sent before it has arrived.
func (l *listener) reset(name string, since time.Time) (n int) {
	l.mu.Lock()
	var dead []*conn
	for c := range l.open {
		if who := c.who.Load(); (who == nil || who.name == name) && c.silentSince(since) {
			dead = append(dead, c)
		}
	}
	l.mu.Unlock()
	for _, c := range dead {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
	return len(dead)
}

// silentSince reports whether nothing has come since then, not even word that what was sent has arrived.
func (c *conn) silentSince(since time.Time) bool {
	if c.read.Load() >= since.UnixNano() {
		return false
	}
	tcp, ok := c.Conn.(*net.TCPConn)
	return !ok || lastAck(tcp).Before(since)
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.read.Store(time.Now().UnixNano())
	}
	return n, err
}

// Write implements net.Conn. A connection that takes nothing is a dead one. Reads have no
// such bound: on a stream the other side says nothing.
func (c *conn) Write(b []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(rafthttp.ConnWriteTimeout)) // the write has the error
	return c.Conn.Write(b)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.new.Leave()
	c.in.mu.Lock()
	delete(c.in.open, c)
	c.in.mu.Unlock()
	return c.Conn.Close()
}
