package exchangetest

import (
	"fmt"
	"net"
	"sync"
	"testing"

	"portico/proxy/exchange"
	"portico/proxy/http1"
)

// Keeper is an origin that keeps what it knows of a visitor with the connection: it answers "seen N", for the number of requests that
// have come on it.
type Keeper struct {
	*Origin

	mu   sync.Mutex
	seen map[net.Conn]int // guarded by mu
}

// NewKeeper starts one.
func NewKeeper(t *testing.T) *Keeper {
	k := &Keeper{seen: map[net.Conn]int{}}
	k.Origin = NewOrigin(t, func(_ int, _ string, c net.Conn) bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.seen[c]++
		text := fmt.Sprintf("seen %d", k.seen[c])
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		return err == nil
	})
	return k
}

// private: where the handler says so, a connection to the upstream serves one client's connection from its first request to its end,
// without any sign in what either side sends.
func private(t *testing.T, mk New) {
	k := NewKeeper(t)
	h := with(k.Origin)
	h.Decide = func(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
		d.Private = string(r.Path) == "/private"
	}
	addr, d := Start(t, mk, options(h))
	common := NewAsker(t, Dial(t, addr))
	for range 3 * exchange.MaxOwn { // so that connections wait in the pool
		common.Ask("a", "/", "")
	}
	a, b := NewAsker(t, Dial(t, addr)), NewAsker(t, Dial(t, addr))
	for i := 1; i <= 5; i++ {
		for _, c := range []*Asker{a, b} {
			if got, want := c.Ask("a", "/private", ""), fmt.Sprintf("200 seen %d", i); got != want {
				t.Errorf("request %d: %q, want %q", i, got, want)
			}
		}
		common.Ask("a", "/", "")
	}
	_ = a.c.Close()
	_ = b.c.Close()
	Eventually(t, "what belonged to clients is closed with them", func() bool {
		return d.Stats().Clients == 1 && h.Upstreams[0].Conns() <= int64(k.Accepted()-2)
	})
	if got := NewAsker(t, Dial(t, addr)).Ask("a", "/private", ""); got != "200 seen 1" {
		t.Errorf("somebody else, after both have gone: %q", got)
	}
}

// privateEnds: where one of the two connections ends, so does the other.
func privateEnds(t *testing.T, mk New) {
	k := NewKeeper(t)
	h := with(k.Origin)
	h.Decide = func(_ *http1.Request, _ *exchange.Peer, d *exchange.Decision) { d.Private = true }
	addr, _ := Start(t, mk, options(h))
	a := NewAsker(t, Dial(t, addr))
	if got := a.Ask("a", "/", ""); got != "200 seen 1" {
		t.Fatalf("got %q", got)
	}
	k.Close()
	if !a.Closed() {
		t.Error("the origin has ended, the client's connection is still open")
	}
}
