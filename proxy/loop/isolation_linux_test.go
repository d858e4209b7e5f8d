package loop_test

import (
	"net"
	"testing"

	"portico/internal/race"
	"portico/proxy/http1"
	"portico/proxy/http1/http1test"
	"portico/proxy/loop"
	"portico/tests/isolation"
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
	h := &http1test.Handler{}
	ways := map[string]*http1.Upstream{}
	for _, s := range w.Sites() {
		up := &http1.Upstream{Addr: s.Upstreams[0]}
		if s.Secure {
			up.TLS = w.OriginTLS()
		}
		ways[s.Host] = up
	}
	h.Decide = func(r *http1.Request, _ *http1.Peer, d *http1.Decision) { d.Upstream = ways[string(r.Host)] }
	short := isolation.Timeout
	o := http1.Options{Config: http1.Config{Handler: h, Timeouts: http1.Timeouts{
		Header: 4 * short, Body: short, Response: short, Write: short, Tunnel: short, Continue: short / 30, Linger: short / 5,
	}}}
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o.Listeners = append(o.Listeners, http1.Listener{Listener: ln})
	}
	o.Listeners[1].TLS = w.ServerTLS()
	http1test.Start(t, func(o http1.Options) (http1.Driver, error) {
		o.Loops = 1
		return loop.NewEager(o)
	}, o)
	f := isolation.Front{Plain: o.Listeners[0].Addr().String(), Secure: o.Listeners[1].Addr().String()}
	w.Play(t, f, isolation.Drawn(t, usual))
}
