package exchangetest

import (
	"fmt"
	"testing"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/http1"
)

// private: where the handler says so, a connection to the upstream serves one client's connection from its first request to its end,
// without any sign in what either side sends.
func private(t *testing.T, mk rig.Maker) {
	k := rig.NewKeeper(t)
	h := rig.With(k.Origin)
	h.Decide = func(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
		d.Private = string(r.Path) == "/private"
	}
	addr, d := rig.Start(t, mk, rig.Options(h))
	common := rig.NewAsker(t, rig.Dial(t, addr))
	for range 3 * exchange.MaxOwn { // so that connections wait in the pool
		common.Ask("a", "/", "")
	}
	a, b := rig.NewAsker(t, rig.Dial(t, addr)), rig.NewAsker(t, rig.Dial(t, addr))
	for i := 1; i <= 5; i++ {
		for _, c := range []*rig.Asker{a, b} {
			if got, want := c.Ask("a", "/private", ""), fmt.Sprintf("200 seen %d", i); got != want {
				t.Errorf("request %d: %q, want %q", i, got, want)
			}
		}
		common.Ask("a", "/", "")
	}
	a.Close()
	b.Close()
	rig.Eventually(t, "what belonged to clients is closed with them", func() bool {
		return d.Stats().Clients == 1 && h.Upstreams[0].Conns() <= int64(k.Accepted()-2)
	})
	if got := rig.NewAsker(t, rig.Dial(t, addr)).Ask("a", "/private", ""); got != "200 seen 1" {
		t.Errorf("somebody else, after both have gone: %q", got)
	}
}

// privateEnds: where one of the two connections ends, so does the other.
func privateEnds(t *testing.T, mk rig.Maker) {
	k := rig.NewKeeper(t)
	h := rig.With(k.Origin)
	h.Decide = func(_ *http1.Request, _ *exchange.Peer, d *exchange.Decision) { d.Private = true }
	addr, _ := rig.Start(t, mk, rig.Options(h))
	a := rig.NewAsker(t, rig.Dial(t, addr))
	if got := a.Ask("a", "/", ""); got != "200 seen 1" {
		t.Fatalf("got %q", got)
	}
	k.Close()
	if !a.Closed() {
		t.Error("the origin has ended, the client's connection is still open")
	}
}
