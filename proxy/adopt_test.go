package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"portico/membership/catalog"
	"portico/proxy/explain"
	"portico/proxy/sticky"
)

// TestAdoptedSessions: a visitor of the balancer before stays on the server that has the session, whatever
// that balancer called it, over HTTP/1 and HTTP/2; and the application reads what it gave.
func TestAdoptedSessions(t *testing.T) {
	shop := site()
	for i, route := range []string{"node1", "dc1.node2"} {
		addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "%d %s %s", i, r.Header.Get("Cookie"), r.Header.Get(sticky.SessionLostHeader))
		})
		u := site(addr).Upstreams[0]
		u.Name, u.Route, u.Cookie = fmt.Sprintf("u%d", i), route, fmt.Sprintf("ARRAffinity:a%d", i)
		shop.Upstreams = append(shop.Upstreams, u)
	}
	shop.Session.Profile = "tomcat"
	shop.TLS.Redirect = "off"
	o, pool := tlsOptions(t, "shop.test")
	f := start(t, o, shop)
	clients := map[string]*http.Client{"http": f.client(), "https": f.h2(pool)}
	for i, row := range []struct{ name, path, cookie, home, sees string }{
		{"mod_jk", "/", "JSESSIONID=ABC.node1", "0", "JSESSIONID=ABC.node1"},
		{"mod_jk", "/", "JSESSIONID=ABC.dc1.node2", "1", "JSESSIONID=ABC.dc1.node2"},
		{"Undertow's list", "/", "JSESSIONID=ABC.gone.node1", "0", "JSESSIONID=ABC.gone.node1"},
		{"mod_jk without cookies", "/a;jsessionid=ABC.node1?x=1", "", "0", ""},
		{"mod_proxy_balancer", "/", "ROUTEID=.node1", "0", "ROUTEID=.node1"},
		{"HAProxy, insert", "/", "a=b; SRV=dc1.node2", "1", "a=b; SRV=dc1.node2"},
		{"HAProxy, insert with dates", "/", "SERVERID=node1|aX1|aX2", "0", "SERVERID=node1|aX1|aX2"},
		{"HAProxy, prefix", "/", "a=b; JSESSIONID=dc1.node2~ABC; c=d~e", "1", "a=b; JSESSIONID=ABC; c=d~e"},
		{"IIS ARR", "/", "ARRAffinity=a1", "1", "ARRAffinity=a1"},
	} {
		for scheme, client := range clients {
			for visitor := range 4 {
				c := row
				agent := fmt.Sprintf("%s %s %d", c.name, c.cookie, visitor)
				own := strings.NewReplacer("ABC", fmt.Sprintf("T%d%s%d", i, scheme, visitor)) // a token is one visitor's
				c.path, c.cookie, c.sees = own.Replace(c.path), own.Replace(c.cookie), own.Replace(c.sees)
				headers := []string{"User-Agent", agent}
				if c.cookie != "" {
					headers = append(headers, "Cookie", c.cookie)
				}
				resp, body := get(t, client, scheme+"://shop.test"+c.path, headers...)
				want := c.home + " " + c.sees + " "
				if body != want {
					t.Fatalf("%s over %s with %q: %q, want %q", c.name, scheme, c.cookie, body, want)
				}
				sealed := ""
				for _, k := range resp.Cookies() {
					if k.Name == "portico-shop" {
						sealed = k.Name + "=" + k.Value
					}
				}
				if !strings.Contains(sealed, "|") {
					t.Fatalf("%s over %s: no sealed cookie: %q", c.name, scheme, resp.Header["Set-Cookie"])
				}
				if c.cookie != "" { // from now on the sealed cookie counts, and what HAProxy put before still goes
					other := strings.NewReplacer("dc1.node2", "node1", "node1", "dc1.node2").Replace(c.cookie)
					sees := strings.NewReplacer("dc1.node2", "node1", "node1", "dc1.node2").Replace(c.sees)
					if _, body = get(t, client, scheme+"://shop.test"+c.path, "User-Agent", agent, "Cookie", sealed+"; "+other); body != c.home+" "+sees+" " {
						t.Fatalf("%s over %s, second visit: %q", c.name, scheme, body)
					}
				}
			}
		}
	}
	steps, err := f.Explain(explain.Ask{URL: "http://shop.test/", Method: "GET", Header: http.Header{"Cookie": {"SRV=node1"}}})
	if err != nil || !strings.Contains(fmt.Sprint(steps), "SRV leads to u0") {
		t.Errorf("explain: %v %v", steps, err)
	}
}

// TestNoAdoption: what names no upstream, or stands in a cookie that nobody said it of, leads nowhere; and a token
// that was learned counts more than the route behind it.
func TestNoAdoption(t *testing.T) {
	shop := site()
	for i := range 2 {
		addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "%d %s", i, r.Header.Get("Cookie"))
		})
		u := site(addr).Upstreams[0]
		u.Name = fmt.Sprintf("node%d", i)
		shop.Upstreams = append(shop.Upstreams, u)
	}
	shop.Session.Adopt, shop.Session.Profile, shop.Policy = "OURS", "tomcat", "round-robin"
	f := start(t, options(), shop)
	homes := map[string]bool{}
	for i := range 8 {
		_, body := get(t, f.client(), "http://shop.test/", "User-Agent", fmt.Sprint(i), "Cookie", fmt.Sprintf("SRV=node0; OURS=node7; JSESSIONID=node0~A%d", i))
		homes[body[:1]] = true
		if !strings.HasSuffix(body, fmt.Sprintf("JSESSIONID=node0~A%d", i)) {
			t.Errorf("a cookie that is nobody's business was changed: %q", body)
		}
	}
	if len(homes) != 2 {
		t.Errorf("8 visitors that nobody claims all came to %v", homes)
	}
	if _, body := get(t, f.client(), "http://shop.test/", "User-Agent", "learn", "Cookie", "OURS=node0; JSESSIONID=known"); body[:1] != "0" {
		t.Fatalf("adopted by %q", body)
	}
	if _, body := get(t, f.client(), "http://shop.test/", "User-Agent", "later", "Cookie", "OURS=node1; JSESSIONID=known"); body[:1] != "0" {
		t.Errorf("a learned token led to %q", body)
	}
}

// TestAdoptionByLabels: behind an agent, a server's name and its labels are what the balancer before may have called
// it, once session.adopt names the cookie.
func TestAdoptionByLabels(t *testing.T) {
	w, agents := newWorld(t, "m1", "m2")
	for _, m := range []string{"m1", "m2"} {
		agents[m].route("i"+m[1:], newApp(t, m).addr)
	}
	w.update(func(v *catalog.View) {
		s := shop("r1")
		s.Manifest.Session.Adopt = "OURS"
		v.Sites["shop"] = s
		m := *v.Members["m2"]
		m.Labels = []string{"node2", "zone-a"}
		v.Members["m2"] = &m
		v.Instances["i1"], v.Instances["i2"] = instance("i1", "m1", "r1"), instance("i2", "m2", "r1")
	})
	w.rotation("i1", true)
	w.rotation("i2", true)
	for i := range 4 {
		for cookie, home := range map[string]string{"OURS=node2": "m2", "OURS=m1": "m1", "OURS=s.node2": "m2"} {
			if _, body := get(t, w.f.client(), "http://shop.test/", "User-Agent", fmt.Sprint(i, cookie), "Cookie", cookie); !strings.HasPrefix(body, home+" ") {
				t.Errorf("%s led to %q", cookie, body)
			}
		}
	}
}
