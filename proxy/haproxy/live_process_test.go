package haproxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"portico/conf"
	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/proxy/haproxy"
)

// oneSite is an export with one server, whose HAProxy takes proxy's settings.
func oneSite(t *testing.T, proxy conf.Proxy) *haproxyRun {
	t.Helper()
	checked := make(chan string, 8)
	h := start(t, haproxy.Options{View: &catalog.View{}, Tokens: tokens, Proxy: proxy, Static: []haproxy.StaticSite{
		static("shop", sites.Settings{Front: sites.Front{Hosts: []string{"shop.example.com"}}}, server("one", upstream(t, "one", checked))),
	}})
	awaitChecks(t, checked, 1)
	return h
}

// While a fresh session key is in use, visitors still bring tokens of the one before it.
func TestFormerTokensLeadHome(t *testing.T) {
	checked := make(chan string, 8)
	h := start(t, haproxy.Options{View: &catalog.View{}, Tokens: rotated, Static: []haproxy.StaticSite{
		static("shop", sites.Settings{Front: sites.Front{Hosts: []string{"shop.example.com"}}}, server("one", upstream(t, "one", checked)), server("two", upstream(t, "two", checked))),
	}})
	awaitChecks(t, checked, 2)
	for _, name := range []string{"one", "two"} {
		for _, value := range []string{token(name), token(name) + "|zz|seal", rotated(name)[0].String()} {
			for range 4 {
				resp, body := h.get(t, "http", "/", http.Header{"Cookie": {"a=b; portico-shop=" + value + "; c=d"}})
				if !strings.HasPrefix(body, name+" ") || resp.Header.Get("Set-Cookie") != "" || !strings.Contains(body, "a=b") || !strings.Contains(body, "c=d") {
					t.Fatalf("a visitor of %s with %s: %q %q", name, value, body, resp.Header["Set-Cookie"])
				}
			}
		}
	}
}

// The word of a trusted proxy is taken for who the visitor is, as portico takes it.
func TestTrustedProxiesAreBelieved(t *testing.T) {
	p := conf.Default().Proxy
	p.TrustedProxies = []string{"127.0.0.0/8", "10.0.0.0/8"}
	h := oneSite(t, p)
	_, body := h.get(t, "http", "/", http.Header{"X-Forwarded-For": {"6.6.6.6, 192.0.2.7, 10.0.0.3"}, "X-Forwarded-Proto": {"https"},
		"X-Forwarded-Host": {"www.example.com"}, "X-Forwarded-Port": {"8443"}, "X-Forwarded-User": {"root"}})
	for _, want := range []string{"X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.0.0.3, 127.0.0.1\n", "X-Forwarded-Proto: https\n", "X-Forwarded-Host: www.example.com\n", "X-Forwarded-Port: 8443\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("missing %q in %q", want, body)
		}
	}
	if strings.Contains(body, "root") {
		t.Errorf("a field that only portico may set went through: %q", body)
	}
	resp, _ := h.get(t, "http", "/", http.Header{"X-Forwarded-Proto": {"https"}})
	if c := resp.Cookies(); len(c) != 1 || !c[0].Secure {
		t.Errorf("the cookie of a visitor who came by HTTPS: %q", resp.Header["Set-Cookie"])
	}
}

// Limits of the proxy hold in HAProxy.
func TestLimitsAreCarried(t *testing.T) {
	p := conf.Default().Proxy
	p.Limits.Line, p.Limits.Header = 512, 4096
	h := oneSite(t, p)
	if resp, _ := h.get(t, "http", "/"+strings.Repeat("a", 600), nil); resp.StatusCode != http.StatusRequestURITooLong {
		t.Errorf("a long line: %d", resp.StatusCode)
	}
	if resp, _ := h.get(t, "http", "/", http.Header{"X-Long": {strings.Repeat("a", 5000)}}); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a long head: %d", resp.StatusCode)
	}
	if resp, _ := h.get(t, "http", "/", http.Header{"X-Long": {strings.Repeat("a", 2000)}}); resp.StatusCode != http.StatusOK {
		t.Errorf("a head within the limit: %d", resp.StatusCode)
	}
}

// A connection from a network of proxy.proxy_protocol names its client in a PROXY header, and
// one beyond the bound for an address is refused.
func TestConnectionsAreCarried(t *testing.T) {
	p := conf.Default().Proxy
	p.ProxyProtocol, p.Limits.PerAddress = []string{"127.0.0.0/8"}, 1
	h := oneSite(t, p)
	ask := func(client string) (net.Conn, string) {
		c, err := net.Dial("tcp", h.http)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = fmt.Fprintf(c, "PROXY TCP4 %s 10.0.0.1 4711 80\r\nGET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n", client)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return c, err.Error()
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		return c, string(body)
	}
	if _, body := ask("192.0.2.9"); !strings.Contains(body, "X-Forwarded-For: 192.0.2.9\n") {
		t.Errorf("the client that a PROXY header names: %q", body)
	}
	if _, body := ask("192.0.2.9"); strings.Contains(body, "X-Forwarded-For") {
		t.Errorf("a second connection of an address that may have one: %q", body)
	}
	if _, body := ask("192.0.2.10"); !strings.Contains(body, "X-Forwarded-For: 192.0.2.10\n") {
		t.Errorf("another client: %q", body)
	}
}
