package proxy_test

import (
	"bufio"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/http1"
)

// caseOrigin remembers the heads that reach it, by their field x-case.
type caseOrigin struct {
	addr string
	mu   sync.Mutex
	seen map[string]string
}

func newCaseOrigin(t *testing.T) *caseOrigin {
	o := &caseOrigin{seen: map[string]string{}}
	o.addr = rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		for {
			text, err := rig.ReadRequest(r, c)
			if err != nil {
				return
			}
			head, _, _ := strings.Cut(text, "\r\n\r\n")
			for _, line := range strings.Split(head, "\r\n") {
				if id, ok := strings.CutPrefix(strings.ToLower(line), "x-case: "); ok {
					o.mu.Lock()
					o.seen[id] = text
					o.mu.Unlock()
				}
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	return o
}

func (o *caseOrigin) head(id string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen[id]
}

// parts of a request, as both protocols can carry them.
type parts struct {
	method, path, host string
	fields             []string // "name: value"
	body               string
}

// oddBytes are what ends a token, a target, a name or a line somewhere, or is in no grammar.
const oddBytes = " \t\"':;,/\\?#%@[](){}<>=*&^`|~!$+\r\n\x00\x01\x1b\x7f\x80\xe9\xff_-.0aZ"

// randomParts makes a request that is sound, but for up to two places.
func randomParts(r *rand.Rand) parts {
	of := func(list ...string) string { return list[r.IntN(len(list))] }
	p := parts{
		method: of("GET", "GET", "GET", "HEAD", "PUT", "OPTIONS", "PURGE", "get", "G", strings.Repeat("A", 32)),
		path:   of("/", "/a", "/a/b?c=d&e", "/%41", "/a%2fb/../c", "//x", "/a;b=c", "/a?b?c"),
		host:   of("shop", "shop", "shop", "SHOP", "shop:443"),
	}
	switch r.IntN(12) {
	case 0:
		p.method = of("CONNECT", "TRACE", strings.Repeat("A", 33))
	case 1:
		p.path = of("*", "http://shop/x", "a", "/a?b#c", "/%zz")
	case 2:
		p.host = of("shop:99999", "u@shop", "shop,shop", "[::1]")
	}
	for range r.IntN(3) {
		p.fields = append(p.fields, of("x-a: b", "x-b: c d", "x-empty: ", "x_under: 1", "cookie: a=b; c", "cookie: d=e", "te: trailers", "te: gzip", "expect: pie",
			"host: shop", "host: other", "connection: close", "transfer-encoding: gzip", "x-forwarded-for: 1.2.3.4", "accept: */*"))
	}
	if r.IntN(4) == 0 {
		p.body = "hello"
		p.method = of("POST", "PUT")
		p.fields = append(p.fields, "content-length: "+of("5", "5", "05", "+5", "5,5", "0x5", "4", "", "18446744073709551621"))
		if r.IntN(6) == 0 {
			p.fields = append(p.fields, "content-length: 5")
		}
	}
	for range r.IntN(5) / 2 {
		odd := string(oddBytes[r.IntN(len(oddBytes))])
		into := func(s string) string {
			at := r.IntN(len(s) + 1)
			return s[:at] + odd + s[at:]
		}
		switch r.IntN(5) {
		case 0:
			p.method = into(p.method)
		case 1:
			p.path = into(p.path)
		case 2:
			p.host = into(p.host)
		case 3:
			p.fields = append(p.fields, "x-"+into("odd")+": v")
		default:
			p.fields = append(p.fields, "x-odd: "+into("some value"))
		}
	}
	return p
}

// overHTTP1 sends p as text and waits for the end of the answer.
func (p parts) overHTTP1(t *testing.T, addr, id string) {
	t.Helper()
	text := p.method + " " + p.path + " HTTP/1.1\r\nHost: " + p.host + "\r\nX-Case: " + id + "\r\n"
	for _, f := range p.fields {
		if h, ok := strings.CutPrefix(f, "host: "); !ok || !http1.SameHost([]byte(h), []byte(p.host)) { // HTTP/2 may say it twice
			text += f + "\r\n"
		}
	}
	rig.ExchangeOpen(t, addr, func(got string) bool { return strings.Contains(got, "\r\n\r\n") }, text+"Connection: close\r\n\r\n"+p.body)
}

// overHTTP2 sends p in frames and waits for an answer, or a refusal.
func (p parts) overHTTP2(t *testing.T, addr string, pool *x509.CertPool, id string) {
	t.Helper()
	c := newH2(t, addr, pool, "shop")
	fields := []string{":method: " + p.method, ":authority: " + p.host, ":scheme: https", ":path: " + p.path, "x-case: " + id}
	c.headers(1, append(fields, p.fields...), p.body == "")
	if p.body != "" {
		_ = c.fr.WriteData(1, true, []byte(p.body))
	}
	for {
		frame, err := c.fr.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame, *http2.RSTStreamFrame:
			return
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				return
			}
		}
	}
}

// same complains unless a head that reached the instance over HTTP/2 is what was asked for, said as strictly as in HTTP/1.
func (p parts) same(t *testing.T, text string) {
	t.Helper()
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	var r http1.Request
	limits := http1.Limits{}.WithDefaults()
	if f := http1.ParseRequest(&r, []byte(head+"\r\n\r\n"), &limits); f != http1.NoFault {
		t.Errorf("%+q reached the instance as what is no request (%s): %+q", p, f.Error(), head)
		return
	}
	if string(r.Method) != p.method || string(r.Target) != p.path || string(r.Host) != p.host || body != p.body {
		t.Errorf("%+q means something else at the instance: %+q", p, text)
	}
	if got, want := own(strings.Split(head, "\r\n")[1:]), own(p.fields); !slices.Equal(got, want) {
		t.Errorf("fields %+q, sent %+q", got, want)
	}
}

// own is the fields of a test in one order: those that begin with "x-" and are nobody else's.
func own(lines []string) (out []string) {
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ":")
		name = textproto.CanonicalMIMEHeaderKey(name)
		if strings.HasPrefix(name, "X-") && !strings.HasPrefix(name, "X-Forwarded-") && name != "X-Case" && !strings.Contains(name, "_") {
			out = append(out, name+": "+strings.Trim(value, " \t"))
		}
	}
	slices.Sort(out)
	return out
}

// TestHTTP2Grammar sends the same random requests in both protocols: what HTTP/1's parser refuses reaches no instance in frames, and what
// reaches one is a sound request with the meaning that was sent.
func TestHTTP2Grammar(t *testing.T) {
	o := newCaseOrigin(t)
	opt, pool := tlsOptions(t, "shop")
	f := start(t, opt, exchangeSites(o.addr)...)
	var both, refused atomic.Int64
	t.Run("seeds", func(t *testing.T) {
		for block := range uint64(8) {
			t.Run(fmt.Sprint(block), func(t *testing.T) {
				t.Parallel()
				for seed := block * 40; seed < (block+1)*40; seed++ {
					p := randomParts(rand.New(rand.NewPCG(seed, 1)))
					one, two := fmt.Sprintf("one%d", seed), fmt.Sprintf("two%d", seed)
					p.overHTTP1(t, f.http, one)
					p.overHTTP2(t, f.tls, pool, two)
					text := o.head(two)
					switch {
					case text == "":
						refused.Add(1)
					case o.head(one) == "":
						t.Errorf("seed %d: refused over HTTP/1, and over HTTP/2 it reached the instance: %+q as %+q", seed, p, text)
					default:
						both.Add(1)
						p.same(t, text)
					}
				}
			})
		}
	})
	if both.Load() < 50 || refused.Load() < 50 {
		t.Errorf("%d requests reached the instance over both, %d were refused: the test says little", both.Load(), refused.Load())
	}
}

// TestHTTP2Malformed: what got through before, each by itself.
func TestHTTP2Malformed(t *testing.T) {
	o := newCaseOrigin(t)
	opt, pool := tlsOptions(t, "shop")
	f := start(t, opt, exchangeSites(o.addr)...)
	for i, tt := range []struct {
		p  parts
		ok bool
	}{
		{p: parts{method: "GET", path: "/", host: "shop"}, ok: true},
		{p: parts{method: "GET", path: "/", host: "shop", fields: []string{"host: shop"}}, ok: true},
		{p: parts{method: "POST", path: "/", host: "shop", fields: []string{"content-length: 5"}, body: "hello"}, ok: true},
		{p: parts{method: "GET /secret HTTP/1.1", path: "/", host: "shop"}},
		{p: parts{method: "GET\t/", path: "/", host: "shop"}},
		{p: parts{method: "G:T", path: "/", host: "shop"}},
		{p: parts{method: "G\"T", path: "/", host: "shop"}},
		{p: parts{method: "G\xe9T", path: "/", host: "shop"}},
		{p: parts{method: strings.Repeat("A", 33), path: "/", host: "shop"}},
		{p: parts{method: "GET", path: "/a\\b", host: "shop"}},
		{p: parts{method: "GET", path: "/", host: "shop", fields: []string{"host: other"}}},
		{p: parts{method: "GET", path: "/", host: "shop", fields: []string{"host: shop", "host: shop"}}},
		{p: parts{method: "POST", path: "/", host: "shop", fields: []string{"content-length: 0"}, body: "hello"}},
		{p: parts{method: "POST", path: "/", host: "shop", fields: []string{"content-length: 4"}, body: "hello"}},
		{p: parts{method: "POST", path: "/", host: "shop", fields: []string{"content-length: 6"}, body: "hello"}},
	} {
		id := fmt.Sprint(i)
		tt.p.overHTTP2(t, f.tls, pool, id)
		text := o.head(id)
		if (text != "") != tt.ok {
			t.Errorf("%+q reached the instance as %+q", tt.p, text)
		}
		if tt.ok {
			tt.p.same(t, text)
		}
	}
}
