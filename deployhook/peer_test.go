package deployhook

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"portico/membership/catalog"
)

// TestPeersAreProxies: what proxies ask one another is answered to nobody else, an exported HAProxy with a proxy's certificate included.
func TestPeersAreProxies(t *testing.T) {
	for name, m := range map[string]catalog.Member{
		"application server": {Name: "server-1", Role: catalog.RoleServer, Addr: "192.0.2.1:7444"},
		"exported HAProxy":   {Name: "haproxy", Role: catalog.RoleProxy},
	} {
		only := func(next func(http.ResponseWriter, *http.Request, catalog.Member)) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next(w, r, m) })
		}
		for route, h := range (&Deployer{}).peerRoutes(only) {
			method, path, _ := strings.Cut(route, " ")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}")))
			if w.Code != http.StatusForbidden {
				t.Errorf("%s, %s: status %d", name, route, w.Code)
			}
		}
	}
}
