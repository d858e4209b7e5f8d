package exchangetest

import (
	"strings"
	"testing"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/http1"
)

// bound: a connection that carries an identity serves nobody but the client that gave it one.
func bound(t *testing.T, mk rig.Maker) {
	for _, tt := range []struct {
		scheme, offer string
		code          int
	}{
		{scheme: "NTLM"},
		{scheme: "Negotiate"},
		{scheme: "ntlm", offer: "www-authenticate: Basic realm=\"a, b\", nTLM\r\n"},
		{scheme: "NEGOTIATE", offer: "WWW-AUTHENTICATE: Bearer\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"y\" , negotiate\r\n"},
		{scheme: "Nego2", offer: "WWW-Authenticate: Nego2\r\n"},
		{scheme: "Kerberos", offer: "WWW-Authenticate: Kerberos\r\n"},
		{scheme: "NTLM", code: 407, offer: "Proxy-Authenticate: NTLM\r\n"},
		{scheme: "NTLM", offer: "WWW-Authenticate: Basic\r\n"}, // not offered: the credentials alone say it
	} {
		o := rig.NewIdentity(t)
		o.Offer, o.Code = tt.offer, tt.code
		addr, d := rig.Start(t, mk, rig.Options(rig.With(o.Origin)))
		alice := rig.NewAsker(t, rig.Dial(t, addr))
		alice.SignIn("a", tt.scheme, "alice")
		for range 5 {
			if got := alice.Ask("a", "/", ""); got != "200 you are alice" {
				t.Errorf("%+v: on the same connection: %q", tt, got)
			}
			mallory := rig.NewAsker(t, rig.Dial(t, addr))
			if got := mallory.Ask("a", "/", ""); !strings.HasPrefix(got, "40") {
				t.Errorf("%+v: without credentials: %q", tt, got)
			}
			mallory.Close()
		}
		alice.Close()
		rig.Eventually(t, "what belonged to clients is closed with them", func() bool { return d.Stats().Clients == 0 && o.Signed() == 0 })
		if got := rig.NewAsker(t, rig.Dial(t, addr)).Ask("a", "/", ""); !strings.HasPrefix(got, "40") {
			t.Errorf("%+v: after alice has gone: %q", tt, got)
		}
	}
}

// boundTicket: credentials that come unasked bind a connection that others had before.
func boundTicket(t *testing.T, mk rig.Maker) {
	o := rig.NewIdentity(t)
	addr, _ := rig.Start(t, mk, rig.Options(rig.With(o.Origin)))
	anybody := rig.NewAsker(t, rig.Dial(t, addr))
	for range 20 {
		if got := anybody.Ask("a", "/public", ""); got != "200 welcome" {
			t.Fatalf("got %q", got)
		}
	}
	bob := rig.NewAsker(t, rig.Dial(t, addr))
	if got := bob.Ask("a", "/", "Negotiate "+rig.Ticket("bob")); got != "200 you are bob" {
		t.Errorf("got %q", got)
	}
	for range 20 {
		if got := anybody.Ask("a", "/public", ""); got != "200 welcome" {
			t.Fatalf("somebody else: %q", got)
		}
		if got := bob.Ask("a", "/", ""); got != "200 you are bob" {
			t.Errorf("got %q", got)
		}
	}
	if n := o.Accepted(); n > 6 { // bob's and one for each loop
		t.Errorf("%d connections", n)
	}
}

// boundEnds: where one of the two connections ends, so does the other, and nothing of a handshake is sent anywhere else.
func boundEnds(t *testing.T, mk rig.Maker) {
	o, other := rig.NewIdentity(t), rig.NewIdentity(t)
	h := rig.With(o.Origin, other.Origin)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	a := rig.NewAsker(t, rig.Dial(t, addr))
	a.SignIn("a", "NTLM", "alice")
	o.Hurt("/die")
	if got := a.Ask("a", "/die", ""); got != "closed" {
		t.Errorf("the origin closed instead of an answer: %q", got)
	}
	b := rig.NewAsker(t, rig.Dial(t, addr))
	if got := b.Ask("a", "/", "NTLM "+rig.FirstStep()); got != "401 " {
		t.Fatalf("got %q", got)
	}
	if got := b.Ask("a", "/die", "NTLM "+rig.SecondStep("bob")); got != "closed" {
		t.Errorf("in the middle of a handshake: %q", got)
	}
	if got := other.Requests(); len(got) != 0 {
		t.Errorf("sent elsewhere: %q", got)
	}
	c := rig.NewAsker(t, rig.Dial(t, addr))
	c.SignIn("a", "NTLM", "carol")
	o.Close()
	if !c.Closed() {
		t.Error("the origin has ended, the client's connection is still open")
	}
}

// boundSites: a client that asks several upstreams in turn keeps a connection to each, but not to any number of them.
func boundSites(t *testing.T, mk rig.Maker) {
	h := &rig.Handler{}
	for range exchange.MaxOwn + 1 {
		o := rig.NewIdentity(t)
		h.Upstreams = append(h.Upstreams, &exchange.Upstream{Addr: o.Addr()})
	}
	h.Decide = func(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
		d.Upstream = h.Upstreams[r.Host[0]-'a']
	}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	a := rig.NewAsker(t, rig.Dial(t, addr))
	host := func(i int) string { return string(rune('a' + i)) }
	for i := range exchange.MaxOwn {
		a.SignIn(host(i), "NTLM", "alice")
	}
	for range 2 {
		for i := range exchange.MaxOwn {
			if got := a.Ask(host(i), "/", ""); got != "200 you are alice" {
				t.Errorf("%d: %q", i, got)
			}
		}
	}
	a.SignIn(host(exchange.MaxOwn), "NTLM", "alice")
	if got := a.Ask(host(0), "/", ""); got != "401 " {
		t.Errorf("the one that has waited longest makes room: %q", got)
	}
	if got := a.Ask(host(2), "/", ""); got != "200 you are alice" {
		t.Errorf("others stay: %q", got)
	}
	a.Close()
	rig.Eventually(t, "no connection is left", func() bool {
		n := int64(0)
		for _, u := range h.Upstreams {
			n += u.Conns()
		}
		return n == 0
	})
}

// boundRetired: what waits with its client goes when its upstream is retired, and the client with it.
func boundRetired(t *testing.T, mk rig.Maker) {
	o := rig.NewIdentity(t)
	h := rig.With(o.Origin)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	a := rig.NewAsker(t, rig.Dial(t, addr))
	a.SignIn("a", "NTLM", "alice")
	h.Upstreams[0].Retire()
	if !a.Closed() {
		t.Error("still open")
	}
	rig.Eventually(t, "no connection is left", func() bool { return h.Upstreams[0].Conns() == 0 })
}
