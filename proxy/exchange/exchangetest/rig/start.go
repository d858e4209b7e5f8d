package rig

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"portico/proxy/exchange"
)

// Maker makes the driver under test.
type Maker func(exchange.Options) (exchange.Driver, error)

// Patience is how long tests wait for what must happen, and what the limits are that a test does not set: no machine is so busy that it
// needs as much.
const Patience = 3 * time.Minute

// patient has the limits that a test does not set be Patience: a test of something else does not fail for them.
func patient(o exchange.Options) exchange.Options {
	l := &o.Timeouts
	for _, d := range []*time.Duration{&l.Header, &l.Idle, &l.Connect, &l.Body, &l.Response, &l.Write, &l.Continue, &l.Linger, &l.Grace, &o.Handshake} {
		if *d == 0 {
			*d = Patience
		}
	}
	return o
}

// Start runs a driver on a free port until the test ends and returns its address. The limits in o that are zero are far away.
func Start(t testing.TB, mk Maker, o exchange.Options) (string, exchange.Driver) {
	t.Helper()
	if o.Listeners == nil {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o.Listeners = []exchange.Listener{{Listener: ln}}
	}
	d, err := mk(patient(o))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := d.Serve(context.Background()); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = d.Shutdown(ctx)
		wg.Wait()
	})
	return o.Listeners[0].Addr().String(), d
}

// Options are those of a driver with a handler and nothing else.
func Options(h *Handler) exchange.Options {
	return exchange.Options{Config: exchange.Config{Handler: h}}
}
