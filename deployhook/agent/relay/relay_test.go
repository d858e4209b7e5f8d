package relay_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/deployhook/agent/relay"
	"portico/tests/support/selfsigned"
)

// TestRelayLingers: an answer that comes after the client's half-close may take as long as it needs while its bytes move.
func TestRelayLingers(t *testing.T) {
	atSomePace(t, func(p *pace) error { return relayLingers(t, p) })
}

// pace is for tests whose peers move something within a time that is short, because the test waits for several of them.
type pace struct {
	slower time.Duration // how many times as much time as usual everything gets
	late   atomic.Bool   // the machine took half of the time for what takes a tenth
}

const linger = time.Second // at the usual pace

// pause is that of a peer between two pieces. It notes when the pieces since the last call were late.
func (p *pace) pause(last *time.Time) {
	if now := time.Now(); !last.IsZero() && now.Sub(*last) > p.slower*linger/4 {
		p.late.Store(true)
	}
	*last = time.Now()
	time.Sleep(p.slower * linger / 10)
}

// atSomePace has f succeed. Where it does not and the machine was late, nothing is shown, and it is tried at a slower pace.
func atSomePace(t *testing.T, f func(p *pace) error) {
	t.Helper()
	for slower := time.Duration(1); ; slower *= 4 {
		p := &pace{slower: slower}
		err := f(p)
		if err == nil {
			return
		}
		if !p.late.Load() || slower >= 16 {
			t.Fatal(err)
		}
	}
}

func relayLingers(t *testing.T, p *pace) error {
	proxySide, proxyFar := tcpPair(t)
	instSide, instFar := tcpPair(t)
	k, c := selfsigned.Pair(t, proxySide, proxyFar)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { relay.Join(k, instSide, p.slower*linger, true) })
	_ = c.CloseWrite()
	want := bytes.Repeat([]byte("x"), 30)
	wg.Go(func() {
		defer instFar.Close()
		_, _ = io.Copy(io.Discard, instFar)
		var last time.Time
		for i := range want {
			p.pause(&last) // in all, three times as long as silence may last
			_, _ = instFar.Write(want[i : i+1])
		}
	})
	defer func() { _ = c.Close() }()
	if got, err := io.ReadAll(c); !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes of %d: %v", len(got), len(want), err)
	}
	return nil
}

// tcpPair is both ends of a connection.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near.(*net.TCPConn), far.(*net.TCPConn)
}

// TestRelayEndsWithTheProxy: a tunnel of which the proxy has ended its half, and then the rest because its visitor has gone, does not stay
// until the instance says something.
func TestRelayEndsWithTheProxy(t *testing.T) {
	proxySide, proxyFar := tcpPair(t)
	instSide, instFar := tcpPair(t)
	k, c := selfsigned.Pair(t, proxySide, proxyFar)
	ended := make(chan struct{})
	go func() { defer close(ended); relay.Join(k, instSide, time.Hour, true) }()
	_ = c.CloseWrite()
	if _, err := io.Copy(io.Discard, instFar); err != nil {
		t.Fatal(err)
	}
	if _, err := instFar.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	if got := make([]byte, 4); func() error { _, err := io.ReadFull(c, got); return err }() != nil || string(got) != "late" {
		t.Fatalf("behind the half-close comes %q", got)
	}
	_ = proxyFar.Close()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the relay goes on for nobody")
	}
}
