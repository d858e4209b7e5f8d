package proxy_test

import (
	"net"
	"testing"

	"portico/conf"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

// TestExchanges runs the table of raw exchanges through the whole proxy, with every engine.
func TestExchanges(t *testing.T) {
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			for _, c := range table.Cases {
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					o := rig.NewOrigin(t, func(n int, _ string, conn net.Conn) bool { return rig.Script(c.Answer, n, conn) })
					opt := options()
					opt.Conf.Engine = engine
					f := start(t, opt, exchangeSites(o.Addr())...)
					for _, d := range c.Differences(rig.Exchange(t, f.http, c.Send...), o.Requests()) {
						t.Error(d)
					}
				})
			}
		})
	}
}

// holds fails unless the row came out as it says, or as the deviation says, in which case it must not come out as the row says: a mark
// that is no longer true must go.
func holds(t *testing.T, c table.Case, d *table.Deviation, differences func(table.Case) []string) {
	t.Helper()
	for _, text := range differences(c.With(d)) {
		t.Error(text)
	}
	if d != nil && len(differences(c)) == 0 {
		t.Errorf("the row holds here: remove the mark %q", d.Why)
	}
}

// exchangeSites are what the table's hosts stand for.
func exchangeSites(addr string) []conf.Site {
	a := site(addr)
	a.Name, a.Hosts, a.Session.Sticky, a.Health.Type = "a", []string{"a"}, "none", "tcp"
	a.TLS.Redirect = "off"
	early := a
	early.Name, early.Hosts, early.Limits.Body = "early", []string{"early"}, 1000
	shop := a
	shop.Name, shop.Hosts, shop.Session.Sticky = "shop", []string{"shop"}, "cookie"
	return []conf.Site{a, early, shop}
}
