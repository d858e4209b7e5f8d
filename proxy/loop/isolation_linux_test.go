package loop_test

import (
	"net"
	"testing"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/http1"
	"portico/proxy/loop"
	"portico/proxy/wire"
	"portico/tests/isolation"
	"portico/tests/support/race"
)

// TestIsolation: nobody gets bytes that are not theirs, on one loop whose every read and write that can goes through the ring. The whole
// proxy is tested in package proxy.
func TestIsolation(t *testing.T) {
	t.Parallel()
	usual := 150
	if race.Enabled {
		usual = 30
	}
	w := isolation.NewWorld(t)
	h := &rig.Handler{}
	ways := map[string]*exchange.Upstream{}
	for _, s := range w.Sites() {
		up := &exchange.Upstream{Addr: s.Upstreams[0]}
		if s.Secure {
			up.TLS = w.OriginTLS()
		}
		ways[s.Host] = up
	}
	h.Decide = func(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) { d.Upstream = ways[string(r.Host)] }
	short := isolation.Timeout
	o := exchange.Options{Config: exchange.Config{Handler: h, Timeouts: wire.Timeouts{
		Header: 4 * short, Body: short, Response: short, Write: short, Tunnel: short, Continue: short / 30, Linger: short / 5,
	}}}
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o.Listeners = append(o.Listeners, exchange.Listener{Listener: ln})
	}
	o.Listeners[1].TLS = w.ServerTLS()
	rig.Start(t, func(o exchange.Options) (exchange.Driver, error) {
		o.Loops = 1
		return loop.NewEager(o)
	}, o)
	f := isolation.Front{Plain: o.Listeners[0].Addr().String(), Secure: o.Listeners[1].Addr().String()}
	w.Play(t, f, isolation.Drawn(t, usual))
}
