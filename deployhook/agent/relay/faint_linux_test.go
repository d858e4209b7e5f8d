package relay_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"portico/deployhook/agent/relay"
	"portico/internal/unsent"
	"portico/tests/support/selfsigned"
)

// TestRelayMovesFaintly: a proxy sees its bytes go on in pieces of some ten KiB while an instance takes them faintly, not when a third of
// what this machine holds for the instance has gone.
func TestRelayMovesFaintly(t *testing.T) {
	const (
		size  = 24 << 20 // more than all in between holds
		steps = 4
		each  = 100 << 10 // six times a record, and less than a third of what is held for the instance
	)
	proxySide, proxyFar := tcpPair(t)
	instSide, instFar := narrowPair(t)
	_ = proxySide.SetReadBuffer(8 << 10)   // a network's frames are small: they tell of little at once
	_ = instSide.SetWriteBuffer(256 << 10) // doubled by the system
	k, c := selfsigned.Pair(t, proxySide, proxyFar)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { relay.Join(k, instSide, time.Minute, true) })
	end := make(chan struct{})
	defer close(end)
	var taken atomic.Int64
	wg.Go(func() { // the instance: 10 KiB a second, until the test is over
		for b := make([]byte, 1<<10); ; time.Sleep(100 * time.Millisecond) {
			select {
			case <-end:
				_ = instFar.Close() // most is still on its way
				return
			default:
				n, _ := instFar.Read(b)
				taken.Add(int64(n))
			}
		}
	})
	wg.Go(func() {
		_, _ = c.Write(bytes.Repeat([]byte("x"), size))
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	})
	held := -1
	for now := unsent.Held(proxyFar); now != held || now <= 0; now = unsent.Held(proxyFar) { // until everything in between is full
		held = now
		time.Sleep(500 * time.Millisecond)
	}
	for step := range steps {
		began, before := taken.Load(), held
		for ; held == before; held = unsent.Held(proxyFar) {
			if n := taken.Load() - began; n > each {
				t.Fatalf("nothing has moved, though the instance has taken %d bytes; it is step %d", n, step)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// TestRelayLingersForATaker: an instance that has yet to take what the proxy sent before its half-close is not silent.
func TestRelayLingersForATaker(t *testing.T) {
	atSomePace(t, func(p *pace) error { return lingersForATaker(t, p) })
}

func lingersForATaker(t *testing.T, p *pace) error {
	const size = 48 << 10
	proxySide, proxyFar := tcpPair(t)
	instSide, instFar := narrowPair(t)
	k, c := selfsigned.Pair(t, proxySide, proxyFar)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { relay.Join(k, instSide, p.slower*linger, true) })
	_, _ = c.Write(make([]byte, size))
	_ = c.CloseWrite()
	wg.Go(func() {
		defer instFar.Close()
		var last time.Time
		for b, n := make([]byte, 1<<10), 0; n < size; p.pause(&last) { // in all, nearly five times as long as silence may last
			m, err := instFar.Read(b)
			if n += m; err != nil {
				return
			}
		}
		_, _ = io.WriteString(instFar, "whole")
	})
	defer func() { _ = c.Close() }()
	if got, err := io.ReadAll(c); string(got) != "whole" {
		return fmt.Errorf("the answer is %q, %v", got, err)
	}
	return nil
}

// narrowPair is tcpPair, but the far end holds little that was not read.
func narrowPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
	}}
	a, err := d.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return b.(*net.TCPConn), a.(*net.TCPConn)
}
