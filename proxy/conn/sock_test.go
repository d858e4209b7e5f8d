package conn

import (
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"portico/proxy/wire"
)

// TestResetToldToWriter: the system tells of a reset once. Where it tells a write, the read beside it finds an end, however long the
// write takes to say what it was told. That end is none in order.
func TestResetToldToWriter(t *testing.T) {
	for told, want := range map[error]wire.Result{syscall.ECONNRESET: wire.Failed, syscall.EPIPE: wire.EOF} {
		c := &toldConn{err: told, begun: make(chan struct{}), hurry: make(chan struct{}, 10)}
		k := &sock{}
		k.init(c, false, time.Now())
		k.writeBy(int64(time.Hour))
		<-c.hurry
		var wg sync.WaitGroup
		wg.Go(func() { k.write([]byte("body"), nil) })
		<-c.begun
		if _, got := k.read(make([]byte, 10)); got != want {
			t.Errorf("a write was told %v: the read beside it is %d, want %d", told, got, want)
		}
		c.hurry <- struct{}{} // the write returns in any case
		wg.Wait()
		k.writeBy(int64(time.Hour))
		if got := c.deadline.Sub(k.start); got != time.Hour {
			t.Errorf("the deadline of the next write is %v, want an hour", got)
		}
	}
}

// TestWriteWaits: a write that ran into its deadline is followed by one that waits for its own, however near that is. It began anew at
// once, for up to a second, and took a processor for each client that took little.
func TestWriteWaits(t *testing.T) {
	for _, raw := range []bool{rawIO, false} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c, err1 := net.Dial("tcp", ln.Addr().String())
		other, err2 := ln.Accept()
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		k := &sock{}
		k.init(c, raw, time.Now())
		full := make([]byte, 64<<20) // more than any connection takes while nobody reads
		for range 3 {
			by := int64(time.Since(k.start) + 100*time.Millisecond)
			k.writeBy(by)
			n, res := k.write(full, nil)
			if now := int64(time.Since(k.start)); res != wire.Blocked || now < by {
				t.Errorf("raw %v: a write ended with %d %v before its deadline", raw, res, time.Duration(by-now))
			}
			full = full[n:]
		}
		_, _, _ = c.Close(), other.Close(), ln.Close()
	}
}

// toldConn has come to its end: each write was told so, and returns when it must.
type toldConn struct {
	net.Conn
	err      error
	begun    chan struct{}
	hurry    chan struct{}
	deadline time.Time
}

func (c *toldConn) Read([]byte) (int, error) { return 0, io.EOF }

func (c *toldConn) Write([]byte) (int, error) {
	close(c.begun)
	<-c.hurry
	return 0, c.err
}

func (c *toldConn) SetWriteDeadline(at time.Time) error {
	c.deadline = at
	c.hurry <- struct{}{}
	return nil
}
