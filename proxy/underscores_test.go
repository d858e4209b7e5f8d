package proxy_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"portico/proxy/explain"
)

// TestUnderscores: with underscores = "pass" an application gets its own fields with an underscore, over every engine and HTTP/2, and
// never another name of what the proxy says or acts on; without, none.
func TestUnderscores(t *testing.T) {
	own := []string{"my_field", "X_Real_IP_2", "x-tenant_id", "_"}
	aliases := []string{"X_Forwarded_For", "x-forwarded_for", "X_Forwarded-Proto", "X_FORWARDED_ANYTHING", "X_Real_IP", "X-Real_IP", "Portico_Session_Lost", "portico_user",
		"Content_Length", "Content_Type", "Transfer_Encoding", "Proxy_Authorization", "Set_Cookie"}
	for _, engine := range engines() {
		for setting, passes := range map[string]bool{"": false, "drop": false, "pass": true} {
			t.Run(engine+"/"+setting, func(t *testing.T) {
				var got http.Header
				addr := rawOrigin(t, serveRaw(func(r *http.Request) string {
					got = r.Header.Clone()
					return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX_Answer: 1\r\nX_Forwarded_For: 1\r\n\r\n"
				}))
				o, pool := tlsOptions(t, "shop.test")
				o.Conf.Engine = engine
				c := site(addr)
				c.Underscores, c.TLS.Redirect = setting, "off"
				f := start(t, o, c)
				for version, client := range map[string]*http.Client{"http": f.client(), "https": f.h2(pool)} {
					r, err := http.NewRequest(http.MethodGet, version+"://shop.test/", nil)
					if err != nil {
						t.Fatal(err)
					}
					for i, name := range append(slices.Clone(own), aliases...) {
						r.Header[name] = []string{fmt.Sprint(i)}
					}
					res, err := client.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					_ = res.Body.Close()
					if res.Header.Get("X_answer") != "1" || res.Header.Get("X_forwarded_for") != "1" {
						t.Errorf("%s: the answer lost fields: %v", version, res.Header)
					}
					want := []string{}
					if passes {
						want = []string{"_=3", "my_field=0", "x-tenant_id=2", "x_real_ip_2=1"}
					}
					have := []string{}
					for _, name := range slices.Sorted(maps.Keys(got)) {
						if strings.Contains(name, "_") {
							have = append(have, strings.ToLower(name)+"="+got.Get(name))
						}
					}
					slices.Sort(have)
					if !slices.Equal(have, want) || got.Get("X-Forwarded-For") != "127.0.0.1" {
						t.Errorf("%s: the instance got %q, want %q; X-Forwarded-For: %q", version, have, want, got["X-Forwarded-For"])
					}
				}
			})
		}
	}
}

// TestExplainUnderscores: a field that does not travel for the underscore in its name is told.
func TestExplainUnderscores(t *testing.T) {
	addr, _ := origin(t, func(http.ResponseWriter, *http.Request) {})
	pass := site(addr)
	pass.Name, pass.Hosts, pass.Underscores = "pass", []string{"pass.test"}, "pass"
	f := start(t, options(), site(addr), pass)
	header := http.Header{"My_field": {"1"}, "X_forwarded_for": {"1"}, "X-Plain": {"1"}}
	f.expect(explain.Ask{URL: "http://shop.test/", Header: header}, `field: My_field | dropped: its name has an underscore (underscores = "drop")`, "field: X_forwarded_for | dropped: to a program behind CGI")
	f.expect(explain.Ask{URL: "http://pass.test/", Header: header}, "field: X_forwarded_for | dropped")
	steps, _ := f.Explain(explain.Ask{URL: "http://pass.test/", Header: header})
	if _, found := told(steps, "field", "My_field"); found {
		t.Errorf("a field that travels is told as dropped: %v", steps)
	}
	if steps, _ = f.Explain(explain.Ask{URL: "http://shop.test/", Header: header}); len(steps) == 0 {
		t.Error("nothing is explained")
	}
	if _, found := told(steps, "field", "X-Plain"); found {
		t.Errorf("a field without an underscore is told: %v", steps)
	}
}
