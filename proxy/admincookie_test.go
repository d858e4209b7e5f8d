package proxy_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"portico/conf/sites"
)

// Cookies know no ports: a browser that is logged in on the admin page sends that login to
// every site of the same host. A site must never see it, in any spelling of the Cookie
// field, and must not set it either, in no kind of answer. Other cookies, also those with
// like names, go both ways.
func TestAdminCookieStaysWithTheAdminPage(t *testing.T) {
	const login = sites.AdminCookie
	seen := make(chan string, 100)
	addr := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if req.UserAgent() != "portico-check" {
				seen <- strings.Join(req.Header["Cookie"], " | ")
			}
			set := "Set-Cookie: a=1\r\nSet-Cookie: " + login + "=planted; Path=/; Secure\r\nset-cookie:  " + login + " =x\r\nSet-Cookie: =" + login + "=y\r\nSet-Cookie: " + login + "; Max-Age=0\r\nSet-Cookie: " + login + "2=b\r\n"
			switch req.URL.Path {
			case "/early":
				fmt.Fprintf(c, "HTTP/1.1 103 Early Hints\r\n%sLink: </x>; rel=preload\r\n\r\n", set)
			case "/tunnel":
				fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n%s\r\n", set)
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%sContent-Length: 2\r\n\r\nok", set)
		}
	})
	o, pool := tlsOptions(t, "shop.test")
	c := site(addr)
	c.TLS.Redirect = "off"
	f := start(t, o, c)

	next := func() string {
		t.Helper()
		select {
		case saw := <-seen:
			return saw
		case <-time.After(waitTime):
			t.Fatal("no request reaches the site")
			return ""
		}
	}
	check := func(what, head string) {
		t.Helper()
		if strings.Contains(head, login+"=") || strings.Contains(head, login+" ") || strings.Contains(head, login+";") {
			t.Errorf("%s: the answer sets the login:\n%s", what, head)
		}
		if !strings.Contains(head, "a=1") || !strings.Contains(head, login+"2=b") {
			t.Errorf("%s: the answer lost a cookie that is the site's own:\n%s", what, head)
		}
	}
	for cookies, want := range map[string]string{
		"Cookie: " + login + "=secret\r\n":                                           "",
		"Cookie: b=1; " + login + "=secret; c=2\r\n":                                 "b=1; c=2",
		"Cookie: b=1\r\nCookie: " + login + "=secret\r\ncookie: c=2\r\n":             "b=1 | c=2",
		"Cookie: " + login + "=secret; portico-shop=x; " + login + "=other; b=1\r\n": "b=1",
		"Cookie: " + login + "2=x; x" + login + "=y\r\n":                             login + "2=x; x" + login + "=y",
	} {
		got := f.raw("GET / HTTP/1.1\r\nHost: shop.test\r\n" + cookies + "Connection: close\r\n\r\n")
		head, _, _ := strings.Cut(got, "\r\n\r\n")
		check(cookies, head)
		if saw := next(); saw != want {
			t.Errorf("%q: the site sees %q, want %q", cookies, saw, want)
		}
	}
	got := f.raw("GET /early HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
	next()
	for part := range strings.SplitSeq(strings.TrimSuffix(got, "ok"), "\r\n\r\n") {
		if part != "" {
			check("103", part)
		}
	}
	got = f.raw("GET /tunnel HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: " + login + "=s; b=1\r\n\r\n")
	if saw := next(); saw != "b=1" || !strings.HasPrefix(got, "HTTP/1.1 101 ") {
		t.Errorf("the tunnel's site sees %q and answers %.30q", saw, got)
	}
	check("101", got)

	early := ""
	req, err := http.NewRequest("GET", "https://shop.test/early", nil)
	if err != nil {
		t.Fatal(err)
	}
	req = req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { early += strings.Join(h["Set-Cookie"], "\n"); return nil },
	}))
	req.Header["Cookie"] = []string{"b=1", login + "=secret", "c=2; " + login + "=x"}
	resp, err := f.h2(pool).Do(req)
	if err != nil || resp.ProtoMajor != 2 {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if saw := next(); strings.Contains(saw, login) || !strings.Contains(saw, "b=1") || !strings.Contains(saw, "c=2") {
		t.Errorf("over HTTP/2 the site sees %q", saw)
	}
	check("HTTP/2", strings.Join(resp.Header["Set-Cookie"], "\n"))
	if early != "" {
		check("103 over HTTP/2", early)
	}

	conn, err := tls.Dial("tcp", f.tls, &tls.Config{RootCAs: pool, ServerName: "shop.test", NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: shop.test\r\nCookie: b=1;%s=secret\r\nConnection: close\r\n\r\n", login)
	all, _ := io.ReadAll(conn)
	check("TLS", string(all))
	if saw := next(); saw != "b=1" {
		t.Errorf("over TLS the site sees %q", saw)
	}
}
