package proxy_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"portico/conf"
	"portico/membership/catalog"
	"portico/proxy/exchange/exchangetest/rig"
)

// boundSite is a site with two instances that authenticate connections.
func boundSite(t *testing.T) (conf.Site, []*rig.Identity) {
	t.Helper()
	a, b := rig.NewIdentity(t), rig.NewIdentity(t)
	st := site(a.Addr(), b.Addr())
	st.Health.Path, st.TLS.Redirect = "/health", "off"
	return st, []*rig.Identity{a, b}
}

// TestBoundConnections: who has signed in with a scheme that authenticates the connection (RFC 4559) is served as that person, without
// any cookie, and nobody else is.
func TestBoundConnections(t *testing.T) {
	for _, engine := range engines() {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%v", engine, secure), func(t *testing.T) {
				st, origins := boundSite(t)
				o, pool := tlsOptions(t, "shop.test")
				o.Conf.Engine = engine
				f := start(t, o, st)
				dial := func() *rig.Asker {
					if !secure {
						return rig.NewAsker(t, rig.Dial(t, f.http))
					}
					c, err := tls.Dial("tcp", f.tls, &tls.Config{RootCAs: pool, ServerName: "shop.test", NextProtos: []string{"http/1.1"}})
					if err != nil {
						t.Fatal(err)
					}
					return rig.NewAsker(t, c)
				}
				for range 4 { // the policy would go to the other instance each time
					alice := dial()
					alice.SignIn("shop.test", "NTLM", "alice")
					for range 3 {
						if got := alice.Ask("shop.test", "/", ""); got != "200 you are alice" {
							t.Errorf("on the same connection: %q", got)
						}
						mallory := dial()
						if got := mallory.Ask("shop.test", "/", ""); got != "401 " {
							t.Errorf("without credentials: %q", got)
						}
					}
				}
				bob := dial()
				if got := bob.Ask("shop.test", "/", "Negotiate "+rig.Ticket("bob")); got != "200 you are bob" {
					t.Errorf("with a ticket: %q", got)
				}
				for range 4 {
					if got := dial().Ask("shop.test", "/", ""); got != "401 " {
						t.Errorf("after a ticket: %q", got)
					}
				}
				for _, o := range origins {
					o.Hurt("/die")
				}
				if got := bob.Ask("shop.test", "/die", ""); got != "closed" {
					t.Errorf("the instance has ended the connection: %q", got)
				}
			})
		}
	}
}

// TestBoundOverHTTP2: an HTTP/2 connection cannot belong to one handshake. The offer passes, because clients fall back by themselves or
// know another scheme; credentials are answered with HTTP_1_1_REQUIRED and reach no instance.
func TestBoundOverHTTP2(t *testing.T) {
	st, origins := boundSite(t)
	o, pool := tlsOptions(t, "shop.test")
	f := start(t, o, st)
	c := newH2(t, f.tls, pool, "shop.test")
	fields := func(more ...string) []string {
		return append([]string{":method: GET", ":authority: shop.test", ":scheme: https", ":path: /"}, more...)
	}
	ask := func(more ...string) string { return c.ask(fields(more...)...) }
	for range 3 {
		if got := ask(); got != "401" {
			t.Errorf("without credentials: %q", got)
		}
		for _, scheme := range []string{"NTLM ", "negotiate ", "Basic YTpi, NTLM ", "Basic YTpi"} {
			want := http2.ErrCodeHTTP11Required.String()
			credentials := scheme + rig.Ticket("alice")
			if scheme == "Basic YTpi" {
				want, credentials = "401", scheme
			}
			if got := ask("authorization: " + credentials); got != want {
				t.Errorf("with %q: %q, want %q", credentials, got, want)
			}
		}
	}
	for _, o := range origins {
		for _, r := range o.Requests() {
			if strings.Contains(r, rig.Ticket("alice")) {
				t.Errorf("reached an instance: %q", r)
			}
		}
	}
	// What others do meanwhile on the same connection goes on.
	if got := ask(); got != "401" {
		t.Errorf("after resets: %q", got)
	}
	if c, err := net.Dial("tcp", f.http); err == nil {
		if got := rig.NewAsker(t, c).Ask("shop.test", "/", ""); got != "401 " {
			t.Errorf("over HTTP/1.1: %q", got)
		}
	}
}

// TestBoundUntilEither: a client's connection ends with the one to an instance that belongs to it, also while it waits for its next
// request: when the instance ends it, when the instance is retired, and when its member is revoked.
func TestBoundUntilEither(t *testing.T) {
	for _, engine := range engines() {
		for name, end := range map[string]func(*world, *rig.Identity){
			"ended": func(_ *world, o *rig.Identity) { o.Close() },
			"retired": func(w *world, _ *rig.Identity) {
				w.update(func(v *catalog.View) { v.Instances = nil })
			},
			"revoked": func(w *world, _ *rig.Identity) {
				w.update(func(v *catalog.View) {
					m := *v.Members["m1"]
					m.Admission = catalog.Revoked
					v.Members["m1"] = &m
				})
			},
		} {
			t.Run(engine+"/"+name, func(t *testing.T) {
				t.Parallel()
				app := rig.NewIdentity(t)
				o := options()
				o.Conf.Engine = engine
				w, agents := newWorldWith(t, o, "m1")
				agents["m1"].route("one", app.Addr())
				w.update(func(v *catalog.View) {
					v.Sites["shop"] = shop("r1")
					v.Sites["shop"].Manifest.Health.Type = "tcp"
					v.Instances["one"] = instance("one", "m1", "r1")
				})
				w.rotation("one", true)
				alice := rig.NewAsker(t, rig.Dial(t, w.f.http))
				alice.SignIn("shop.test", "NTLM", "alice")
				time.Sleep(1200 * time.Millisecond) // whatever looks after connections has looked
				if got := alice.Ask("shop.test", "/", ""); got != "200 you are alice" {
					t.Fatalf("after a while: %q", got)
				}
				began := time.Now()
				end(w, app)
				if !alice.Closed() || time.Since(began) > waitTime {
					t.Errorf("the client's connection was open for %v", time.Since(began))
				}
			})
		}
	}
}
