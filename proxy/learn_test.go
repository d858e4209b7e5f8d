package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// product is an application server that opens a session at /login and tells its
// token in one of the ways that products have.
func product(t testing.TB, name string, open func(w http.ResponseWriter, token string), find func(r *http.Request) string) (addr string) {
	var mu sync.Mutex
	n := 0
	known := map[string]bool{}
	addr, _ = origin(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/login" {
			n++
			token := fmt.Sprintf("%s%d", name, n)
			known[token] = true
			open(w, token)
			fmt.Fprintf(w, "%s %s", name, token)
			return
		}
		fmt.Fprintf(w, "%s %v", name, known[find(r)])
	})
	return addr
}

// TestApplicationToken: with the token of the application alone, without our cookie,
// a visitor comes back to the instance that knows him, wherever the product keeps it.
func TestApplicationToken(t *testing.T) {
	const base = "http://shop.test"
	cookie := func(name, suffix string) func(http.ResponseWriter, string) {
		return func(w http.ResponseWriter, token string) {
			w.Header().Add("Set-Cookie", name+"="+token+suffix+"; Path=/; HttpOnly")
		}
	}
	fromCookie := func(name string) func(*http.Request) string {
		return func(r *http.Request) string {
			c, err := r.Cookie(name)
			if err != nil {
				return ""
			}
			v, _, _ := strings.Cut(c.Value, ".")
			return v
		}
	}
	redirect := func(to string) func(http.ResponseWriter, string) {
		return func(w http.ResponseWriter, token string) {
			w.Header().Set("Location", fmt.Sprintf(to, token))
			w.WriteHeader(302)
		}
	}
	inPath := func(before string) func(*http.Request) string {
		return func(r *http.Request) string {
			_, v, _ := strings.Cut(r.URL.Path, before)
			v, _, _ = strings.Cut(v, "/")
			return strings.TrimRight(v, ")")
		}
	}
	for _, tt := range []struct {
		profile string
		open    func(http.ResponseWriter, string)
		find    func(*http.Request) string
		come    func(token string) (url string, header []string)
	}{
		{"tomcat", cookie("JSESSIONID", ".node1"), fromCookie("JSESSIONID"),
			func(token string) (string, []string) {
				return base + "/", []string{"Cookie", "JSESSIONID=" + token + ".node1"}
			}},
		{"servoy", cookie("JSESSIONID", ".node1"), fromCookie("JSESSIONID"), // the route has changed
			func(token string) (string, []string) {
				return base + "/", []string{"Cookie", "a=b; JSESSIONID=" + token}
			}},
		{"tomcat", redirect("/shop;jsessionid=%s.node1?page=1"), func(r *http.Request) string {
			_, v, _ := strings.Cut(r.URL.Path, ";jsessionid=")
			return v
		}, func(token string) (string, []string) { return base + "/basket;jsessionid=" + token + "?page=2", nil }},
		{"php", cookie("PHPSESSID", ""), fromCookie("PHPSESSID"),
			func(token string) (string, []string) { return base + "/", []string{"Cookie", "PHPSESSID=" + token} }},
		{"aspnet", cookie("ASP.NET_SessionId", ""), fromCookie("ASP.NET_SessionId"),
			func(token string) (string, []string) {
				return base + "/", []string{"Cookie", "ASP.NET_SessionId=" + token}
			}},
		{"aspnet", redirect("http://shop.test/(S(%s))/default.aspx"), inPath("/(S("),
			func(token string) (string, []string) { return base + "/(S(" + token + "))/x.aspx", nil }},
		{"express", cookie("connect.sid", ""), fromCookie("connect.sid"),
			func(token string) (string, []string) { return base + "/", []string{"Cookie", "connect.sid=" + token} }},
		{"webdev", redirect("/SITE_WEB/US/CTX_%s/home.awp"), inPath("/CTX_"),
			func(token string) (string, []string) { return base + "/SITE_WEB/US/CTX_" + token + "/basket.awp", nil }},
		{"header:X-Session", func(w http.ResponseWriter, token string) { w.Header().Set("X-Session", token) },
			func(r *http.Request) string { return r.Header.Get("X-Session") },
			func(token string) (string, []string) { return base + "/", []string{"X-Session", token} }},
		{"query:sid", redirect("/start?sid=%s"), func(r *http.Request) string { return r.URL.Query().Get("sid") },
			func(token string) (string, []string) { return base + "/?page=1&sid=" + token, nil }},
	} {
		t.Run(tt.profile, func(t *testing.T) {
			var addrs []string
			for _, name := range []string{"a", "b", "c"} {
				addrs = append(addrs, product(t, name, tt.open, tt.find))
			}
			c := site(addrs...)
			c.Session.Profile = tt.profile
			f := start(t, options(), c)
			for range 6 {
				_, body := get(t, f.client(), base+"/login")
				name, token, _ := strings.Cut(body, " ")
				url, header := tt.come(token)
				for range 3 {
					if resp, body := get(t, f.client(), url, header...); body != name+" true" {
						t.Fatalf("the visitor of %s with token %s got %q (%s)", name, token, body, resp.Status)
					}
				}
			}
		})
	}
}

// TestPinWaitsForTheApplication: while the application has opened no session, nobody
// is pinned, and nothing is counted.
func TestPinWaitsForTheApplication(t *testing.T) {
	open := func(w http.ResponseWriter, token string) {
		http.SetCookie(w, &http.Cookie{Name: "PHPSESSID", Value: token, Path: "/"})
	}
	find := func(r *http.Request) string {
		c, err := r.Cookie("PHPSESSID")
		if err != nil {
			return ""
		}
		return c.Value
	}
	var addrs []string
	for _, name := range []string{"a", "b"} {
		addrs = append(addrs, product(t, name, open, find))
	}
	c := site(addrs...)
	c.Policy, c.Session.Profile = "round-robin", "php"
	f := start(t, options(), c)
	v, at := visitor(t, f), map[string]int{}
	for range 8 {
		resp, body := get(t, v, "http://shop.test/")
		at[body[:1]]++
		if set := resp.Header["Set-Cookie"]; len(set) > 0 {
			t.Fatalf("a cookie before there is a session: %q", set)
		}
	}
	if at["a"] != 4 || at["b"] != 4 {
		t.Errorf("without a session the visitor was at %v", at)
	}
	if _, n := f.Balancer().Sessions().List("shop", 1, nil); n != 0 {
		t.Errorf("%d sessions are counted, and there is none", n)
	}
	resp, body := get(t, v, "http://shop.test/login")
	if len(resp.Header["Set-Cookie"]) != 2 {
		t.Fatalf("with the session came %q", resp.Header["Set-Cookie"])
	}
	for range 4 {
		if _, again := get(t, v, "http://shop.test/"); again != body[:1]+" true" {
			t.Errorf("the visitor of %q got %q", body, again)
		}
	}
	if _, n := f.Balancer().Sessions().List("shop", 1, nil); n != 1 {
		t.Errorf("%d sessions are counted of one visitor", n)
	}
}
