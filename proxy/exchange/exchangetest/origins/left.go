package origins

import (
	"context"
	"strings"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/http1"
)

// revoked: of an upstream that is not trusted any more, every request is cut, whoever's it is.
func revoked(t *testing.T, mk rig.Maker) {
	begun, ended := make(chan struct{}, 9), make(chan struct{}, 9)
	m := newMulti(t, waiting(begun, ended), 0, nil)
	h := with(m)
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	addr, _ := rig.Start(t, mk, rig.Options(h))
	one := c.Open(true, "GET /")
	two := make(chan string, 1)
	go func() { two <- rig.Exchange(t, addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") }()
	within(t, "a request", begun)
	within(t, "a request", begun)
	h.Upstreams[0].Kill()
	if got := one.Over(); got.Status() != "502" {
		t.Errorf("%+v", got)
	}
	if got := <-two; !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("%q", got)
	}
	rig.Eventually(t, "no connection is left", func() bool { open, _ := m.count(); return open == 0 && h.Upstreams[0].Conns() == 0 })
}

// left: who could get an answer elsewhere waits no longer for an upstream that is silent, who has his session there does.
func left(t *testing.T, mk rig.Maker) {
	begun, ended := make(chan struct{}, 9), make(chan struct{}, 9)
	m := newMulti(t, waiting(begun, ended), 0, nil)
	h := with(m)
	h.Decide = func(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) { d.Stays = string(r.Path) == "/stays" }
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	stays, goes := c.Open(true, "GET /stays"), c.Open(true, "GET /goes")
	within(t, "a request", begun)
	within(t, "a request", begun)
	h.Upstreams[0].Leave()
	if got := goes.Over(); got.Status() != "502" {
		t.Errorf("%+v", got)
	}
	if got := stays.Got(); got.Head != "" || got.Reset != "" {
		t.Errorf("%+v", got)
	}
}

// retired: the connection ends when the last request on it has.
func retired(t *testing.T, mk rig.Maker) {
	m := newMulti(t, echoing, 0, nil)
	h := with(m)
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	s := c.Open(false, "POST /")
	s.Send([]byte("one"), false)
	s.Until("it comes back", func(a *rig.H2Answer) bool { return a.Body == "one" })
	h.Upstreams[0].Retire()
	time.Sleep(1500 * time.Millisecond) // connections are looked after once a second
	s.Send([]byte("two"), true)
	if got := s.Over(); got.Body != "onetwo" || !got.Ended {
		t.Errorf("%+v", got)
	}
	rig.Eventually(t, "no connection is left", func() bool { open, _ := m.count(); return open == 0 && h.Upstreams[0].Conns() == 0 })
}

// stop: a driver that stops cuts what is left, and nothing goes on.
func stop(t *testing.T, mk rig.Maker) {
	begun, ended := make(chan struct{}, 9), make(chan struct{}, 9)
	m := newMulti(t, waiting(begun, ended), 0, nil)
	h := with(m)
	c, d := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	c.Open(true, "GET /")
	within(t, "a request", begun)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = d.Shutdown(ctx)
	within(t, "its end", ended)
	rig.Eventually(t, "no connection is left", func() bool { open, _ := m.count(); return open == 0 && h.Upstreams[0].Conns() == 0 })
	rig.Eventually(t, "the request is recorded", func() bool { r := h.Records(); return len(r) == 1 && r[0].Cause == account.CauseShutdown })
}
