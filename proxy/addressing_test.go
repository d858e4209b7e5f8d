package proxy_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// TestAnswersAreAddressed: what an application says of its paths and its own address leads the visitor to where the site is.
func TestAnswersAreAddressed(t *testing.T) {
	const own = "http://INSTANCE"
	var addr string
	addr, _ = origin(t, func(w http.ResponseWriter, r *http.Request) {
		if to := r.Header.Get("X-To"); to != "" {
			w.Header().Set("Location", strings.ReplaceAll(to, "INSTANCE", addr))
			w.Header().Set("Content-Location", "/c")
			w.Header().Set("Refresh", "5; URL='"+w.Header().Get("Location")+"'")
			w.Header().Add("Set-Cookie", "JSESSIONID=1; Path=/; HttpOnly")
			w.Header().Add("Set-Cookie", "a=1;path=/deep/;Secure")
			w.Header().Add("Set-Cookie", "b=/; Max-Age=1")
			w.Header().Add("Set-Cookie", "c=1; Path=/crm/x")
			w.Header().Add("Set-Cookie", sites.AdminCookie+"=evil; Path=/")
			w.WriteHeader(http.StatusFound)
		}
	})
	root, crm := site(addr), site(addr)
	crm.Name, crm.Hosts, crm.Path, crm.Strip, crm.Health.Path = "crm", []string{"shop.test"}, "/crm", true, "/crm/"
	f := start(t, options(), root, crm)
	for _, tt := range []struct{ path, to, want string }{
		{"/", own + "/login?a=b", "http://shop.test/login?a=b"},
		{"/", own, "http://shop.test"},
		{"/", "/login", "/login"},
		{"/", "http://shop.test/login", "http://shop.test/login"},
		{"/", "https://elsewhere.test/login", "https://elsewhere.test/login"},
		{"/crm/", own + "/login", "http://shop.test/crm/login"},
		{"/crm/", own + "?a", "http://shop.test/crm?a"},
		{"/crm/", "/login", "/crm/login"},
		{"/crm/", "/crm/login", "/crm/login"},
		{"/crm/", "/crm?a=b", "/crm?a=b"},
		{"/crm/", "http://SHOP.test/login#x", "http://SHOP.test/crm/login#x"},
		{"/crm/", "https://shop.test/crm/login", "https://shop.test/crm/login"},
		{"/crm/", "//elsewhere.test/", "//elsewhere.test/"},
		{"/crm/", "login", "login"},
	} {
		r, err := http.NewRequest(http.MethodGet, "http://"+f.http+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "shop.test"
		r.Header.Set("X-To", tt.to)
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got := res.Header.Get("Location"); got != tt.want {
			t.Errorf("%s: %s became %s, want %s", tt.path, tt.to, got, tt.want)
		}
		if got := strings.Trim(strings.TrimPrefix(res.Header.Get("Refresh"), "5; URL="), "'"); got != tt.want {
			t.Errorf("%s: to renew %s became %s, want %s", tt.path, tt.to, got, tt.want)
		}
		cookies := []string{"JSESSIONID=1; Path=/; HttpOnly", "a=1;path=/deep/;Secure", "b=/; Max-Age=1", "c=1; Path=/crm/x"}
		content := "/c"
		if tt.path == "/crm/" {
			cookies = []string{"JSESSIONID=1; Path=/crm; HttpOnly", "a=1;path=/crm/deep;Secure", "b=/; Max-Age=1", "c=1; Path=/crm/x"}
			content = "/crm/c"
		}
		got := slices.DeleteFunc(res.Header["Set-Cookie"], func(v string) bool { return strings.HasPrefix(v, "portico-") })
		if !slices.Equal(got, cookies) || res.Header.Get("Content-Location") != content {
			t.Errorf("%s: cookies %q, Content-Location %s", tt.path, got, res.Header.Get("Content-Location"))
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestLinksAndCookiesAreAddressed: Link and the Domain of cookies follow the rule of redirects, over every engine, and what a site does
// not want turned stays as it is.
func TestLinksAndCookiesAreAddressed(t *testing.T) {
	const visitor = "http://shop.test"
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			var addr, port string
			var say func(h http.Header)
			addr, _ = origin(t, func(w http.ResponseWriter, r *http.Request) {
				if r.UserAgent() == "portico-check" {
					return
				}
				h := w.Header()
				h.Set("Location", "http://localhost:"+port+"/next")
				say(h)
				if r.URL.Query().Has("see") {
					w.WriteHeader(http.StatusSeeOther)
				}
			})
			_, port, _ = strings.Cut(addr, ":")
			root, crm, bare, some := site(addr), site(addr), site(addr), site(addr)
			crm.Name, crm.Path, crm.Strip = "crm", "/crm", true
			bare.Name, bare.Path, bare.Strip, bare.Rewrite = "bare", "/bare", true, []sites.Rewrite{}
			some.Name, some.Path, some.Strip, some.Rewrite = "some", "/some", true, []sites.Rewrite{"link", "cookie-domain"}
			o := options()
			o.Conf.Engine = engine
			f := start(t, o, root, crm, bare, some)
			for _, tt := range []struct {
				path, name string
				say, want  []string
			}{
				{"/", "Link", []string{"<http://" + addr + "/p?page=2>; rel=\"next\", </style.css>; rel=preload"}, []string{"<" + visitor + "/p?page=2>; rel=\"next\", </style.css>; rel=preload"}},
				{"/", "Link", []string{"<https://elsewhere.test/>; rel=license", "<//elsewhere.test/>", "<p>; rel=next"}, nil},
				{"/crm/", "Link", []string{"</a,b>; title=\"</c>, \\\"</d>\"; rel=next,<http://localhost:" + port + "/e>;rel=last", "</f>"},
					[]string{"</crm/a,b>; title=\"</c>, \\\"</d>\"; rel=next,<" + visitor + "/crm/e>;rel=last", "</crm/f>"}},
				{"/crm/", "Link", []string{"</crm/a>, <b>; rel=next, </broken"}, nil},
				{"/bare/", "Link", []string{"</a>, <http://" + addr + "/b>"}, nil},
				{"/some/", "Link", []string{"</a>"}, []string{"</some/a>"}},
				{"/", "Set-Cookie", []string{"a=1; Domain=127.0.0.1; Path=/", "b=Domain=localhost; domain=.LocalHost"}, []string{"a=1; Path=/", "b=Domain=localhost"}},
				{"/", "Set-Cookie", []string{"a=1; Domain=shop.test; Path=/; HttpOnly", "b=1; Domain=10.0.0.1; Domain"}, nil},
				{"/crm/", "Set-Cookie", []string{"a=1; Domain=127.0.0.1; Path=/"}, []string{"a=1; Path=/crm"}},
				{"/bare/", "Set-Cookie", []string{"a=1; Domain=127.0.0.1; Path=/"}, nil},
				{"/some/", "Set-Cookie", []string{"a=1; Domain=127.0.0.1; Path=/"}, []string{"a=1; Path=/"}},
				{"/?see", "Location", nil, []string{visitor + "/next"}},
				{"/crm/?see", "Location", nil, []string{visitor + "/crm/next"}},
				{"/", "Location", nil, []string{"http://localhost:" + port + "/next"}},
				{"/some/?see", "Location", nil, []string{"http://localhost:" + port + "/next"}},
				{"/bare/?see", "Location", nil, []string{"http://localhost:" + port + "/next"}},
			} {
				say = func(h http.Header) {
					if tt.say != nil {
						h[tt.name] = tt.say
					}
				}
				r, err := http.NewRequest(http.MethodGet, "http://"+f.http+tt.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Host = "shop.test"
				res, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
				got := slices.DeleteFunc(res.Header[tt.name], func(v string) bool { return strings.HasPrefix(v, "portico-") })
				want := tt.want
				if want == nil {
					want = tt.say
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: %s\nsaid %q\ngot  %q\nwant %q", tt.path, tt.name, tt.say, got, want)
				}
			}
			http.DefaultClient.CloseIdleConnections()
		})
	}
}

// TestInstanceBehindAnAgentIsAddressed: an instance on an application server names its own machine and the port that its agent gave it.
// Other ports of that machine, and all of them while the port is not known, are somebody else's.
func TestInstanceBehindAnAgentIsAddressed(t *testing.T) {
	w, agents := newWorld(t, "m1")
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if to := r.Header.Get("X-To"); to != "" {
			w.Header().Set("Location", to)
			w.Header().Set("Set-Cookie", "a=1; Domain=localhost")
			w.WriteHeader(http.StatusFound)
		}
	})
	_, port, _ := strings.Cut(addr, ":")
	number, _ := strconv.Atoi(port)
	agents["m1"].route("one", addr)
	publish := func(port int) {
		w.update(func(v *catalog.View) {
			v.Sites["shop"] = shop("r1")
			in := instance("one", "m1", "r1")
			in.Port = port
			v.Instances["one"] = in
		})
		w.rotation("one", true)
	}
	client := w.f.client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	location := func(to string) string {
		res, _ := get(t, client, "http://shop.test/", "X-To", to)
		if c := res.Header["Set-Cookie"]; len(c) == 0 || c[0] != "a=1" {
			t.Errorf("cookies %q", c)
		}
		return res.Header.Get("Location")
	}
	publish(number)
	for to, want := range map[string]string{
		"http://localhost:" + port + "/a?b":     "http://shop.test/a?b",
		"http://127.0.0.1:" + port + "/":        "http://shop.test/",
		"https://[::1]:" + port:                 "http://shop.test",
		"http://" + agents["m1"].addr + "/":     "http://" + agents["m1"].addr + "/",
		"http://localhost/":                     "http://localhost/",
		"http://elsewhere.test:" + port + "/":   "http://elsewhere.test:" + port + "/",
		"http://user@localhost:" + port + "/":   "http://user@localhost:" + port + "/",
		"http://localhost.test:" + port + "/":   "http://localhost.test:" + port + "/",
		"custom://localhost:" + port + "/token": "custom://localhost:" + port + "/token",
	} {
		if got := location(to); got != want {
			t.Errorf("%s became %s, want %s", to, got, want)
		}
	}
	publish(0)
	if to := "http://localhost:" + port + "/"; location(to) != to {
		t.Errorf("%s was turned while the port was not known", to)
	}
}

// TestSchemeIsTheVisitors: an application that does not know of TLS keeps a visitor there, and one that sends people to plain HTTP on
// purpose is let.
func TestSchemeIsTheVisitors(t *testing.T) {
	for _, engine := range engines() {
		addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
			if r.UserAgent() != "portico-check" {
				w.Header().Set("Location", "http://"+r.Host+"/next")
				w.WriteHeader(http.StatusFound)
			}
		})
		o, pool := tlsOptions(t, "shop.test")
		o.Conf.Engine = engine
		c, plain := site(addr), site(addr)
		plain.Name, plain.Path, plain.TLS.Redirect = "plain", "/plain", "off"
		f := start(t, o, c, plain)
		secure, clear := f.h2(pool), f.client()
		for _, client := range []*http.Client{secure, clear} {
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		}
		for _, tt := range []struct {
			client   *http.Client
			at, want string
		}{
			{secure, "https://shop.test/", "https://shop.test/next"},
			{secure, "https://shop.test/plain/", "http://shop.test/next"},
			{secure, "https://shop.test:8443/plain/", "https://shop.test:8443/next"},
			{clear, "http://shop.test/plain/", "http://shop.test/next"},
		} {
			res, err := tt.client.Get(tt.at)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if got := res.Header.Get("Location"); got != tt.want {
				t.Errorf("%s: from %s to %s, want %s", engine, tt.at, got, tt.want)
			}
		}
	}
}

// TestHintsAreAddressed: early hints follow the rule of the answer that they come before.
func TestHintsAreAddressed(t *testing.T) {
	for _, engine := range engines() {
		addr := rawOrigin(t, serveRaw(func(r *http.Request) string {
			return "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Stays: 1\r\n\r\nHTTP/1.1 200 OK\r\nLink: </b>; rel=next\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
		}))
		o := options()
		o.Conf.Engine = engine
		c := site(addr)
		c.Path, c.Strip = "/app", true
		answer := start(t, o, c).raw("GET /app/ HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
		hints, final, _ := strings.Cut(answer, "\r\n\r\n")
		if !strings.HasPrefix(hints, "HTTP/1.1 103 ") || strings.Count(hints, "Link: ") != 1 || !strings.Contains(hints, "\r\nLink: </app/a.css>; rel=preload") ||
			!strings.Contains(hints, "X-Stays: 1") || strings.Count(final, "Link: ") != 1 || !strings.Contains(final, "\r\nLink: </app/b>; rel=next\r\n") {
			t.Errorf("%s: %q", engine, answer)
		}
	}
}
