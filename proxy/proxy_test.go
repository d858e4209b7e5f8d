package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestRequestReachesSite(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s host=%s xff=%s", r.Method, r.RequestURI, r.Host, r.Header.Get("X-Forwarded-For"))
	})
	f := start(t, options(), site(addr))
	resp, body := get(t, f.client(), "http://shop.test/a%2Fb?x=%zz")
	if resp.StatusCode != 200 || body != "GET /a%2Fb?x=%zz host=shop.test xff=127.0.0.1" {
		t.Fatalf("got %d %q", resp.StatusCode, body)
	}
	c := resp.Header.Get("Set-Cookie")
	if !strings.HasPrefix(c, "portico-shop=") || !strings.Contains(c, "; Path=/; HttpOnly; SameSite=Lax") {
		t.Errorf("sticky cookie: %q", c)
	}
	if resp, _ := get(t, f.client(), "http://other.test/"); resp.StatusCode != 404 {
		t.Errorf("unknown host: got %d, want 404", resp.StatusCode)
	}
}
