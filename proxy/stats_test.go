package proxy_test

import (
	"fmt"
	"net/http"
	"testing"
)

// TestTrafficOfOneSite: what is told of one site is what the snapshot has of it.
func TestTrafficOfOneSite(t *testing.T) {
	one, _ := origin(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "shop/u0") })
	f := start(t, options(), site(one))
	get(t, f.client(), "http://shop.test/")
	f.eventually("the session is counted", func() bool {
		p, served := f.Pool("shop")
		return served && p.Name == "shop" && p.Sessions == 1 && f.Snapshot().Pools[0].Sessions == 1
	})
	if n := f.RecentSessions("shop/u0"); n != 1 {
		t.Errorf("%d sessions of the instance were used lately, not 1", n)
	}
	if _, served := f.Pool("none"); served || f.RecentSessions("none/u0") != 0 {
		t.Error("a site that is not served has traffic")
	}
}
