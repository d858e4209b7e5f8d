package proxy_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/explain"
)

// TestPrivateConnections: with session.connection = "private", what an instance keeps with its connection belongs to one client
// connection; without it, the same instance mixes them up.
func TestPrivateConnections(t *testing.T) {
	for _, engine := range engines() {
		for _, connection := range []string{"private", "shared"} {
			t.Run(engine+"/"+connection, func(t *testing.T) {
				k := rig.NewKeeper(t)
				st := site(k.Addr())
				st.Session.Connection, st.TLS.Redirect, st.Health.Type = connection, "off", "tcp"
				o, pool := tlsOptions(t, "shop.test")
				o.Conf.Engine = engine
				f := start(t, o, st)
				if steps, err := f.Explain(explain.Ask{URL: "https://shop.test/"}); err != nil {
					t.Error(err)
				} else if _, ok := told(steps, "connection", "private"); ok != (connection == "private") {
					t.Errorf("the explanation is %v", steps)
				}
				var clients []*rig.Asker
				for range 4 {
					clients = append(clients, rig.NewAsker(t, rig.Dial(t, f.http)))
					c, err := tls.Dial("tcp", f.tls, &tls.Config{RootCAs: pool, ServerName: "shop.test", NextProtos: []string{"h2", "http/1.1"}})
					if err != nil {
						t.Fatal(err)
					}
					if got := c.ConnectionState().NegotiatedProtocol; (got == "h2") != (connection == "shared") {
						t.Errorf("the protocol is %q", got)
					}
					if connection == "private" {
						clients = append(clients, rig.NewAsker(t, c))
					}
				}
				mixed := false
				for i := 1; i <= 4; i++ {
					for _, c := range clients {
						mixed = c.Ask("shop.test", "/", "") != fmt.Sprintf("200 seen %d", i) || mixed
					}
				}
				if mixed != (connection == "shared") {
					t.Errorf("mixed up: %v", mixed)
				}
			})
		}
	}
}

// TestPrivateOverHTTP2: a client that comes over HTTP/2 all the same, as by a connection that was opened for another host, is told to use
// HTTP/1.1, and its requests reach no instance. The other host's go on.
func TestPrivateOverHTTP2(t *testing.T) {
	k, other := rig.NewKeeper(t), rig.NewKeeper(t)
	mine, shared := site(k.Addr()), site(other.Addr())
	mine.Session.Connection, mine.Health.Type = "private", "tcp"
	shared.Name, shared.Hosts, shared.Health.Type = "blog", []string{"blog.test"}, "tcp"
	o, pool := tlsOptions(t, "shop.test", "blog.test")
	f := start(t, o, mine, shared)
	c := newH2(t, f.tls, pool, "blog.test")
	for range 3 {
		for _, tt := range []struct{ host, want string }{
			{"shop.test", http2.ErrCodeHTTP11Required.String()}, {"blog.test", "200"},
		} {
			if got := c.ask(":method: GET", ":authority: "+tt.host, ":scheme: https", ":path: /"); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.host, got, tt.want)
			}
		}
	}
	if got := k.Requests(); len(got) > 0 {
		t.Errorf("reached the instance: %q", got)
	}
	conn, err := net.Dial("tcp", f.tls)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	only := tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: "shop.test", NextProtos: []string{"h2"}})
	if err := only.Handshake(); err == nil || !strings.Contains(err.Error(), "protocol") {
		t.Errorf("a client that speaks HTTP/2 alone: %v", err)
	}
}
