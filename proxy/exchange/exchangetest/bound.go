package exchangetest

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/http1"
)

// Identity is an origin that authenticates connections, as those with Windows authentication do: after a handshake of two requests, or
// one with a ticket, every request on the connection is that person's. It answers "you are NAME", or 401.
type Identity struct {
	*Origin
	Offer string // complete lines of its 401; "": Negotiate and NTLM
	Code  int    // instead of 401; 0: 401

	mu     sync.Mutex
	hurt   string // a path: the connection is closed in place of an answer
	signed int    // open connections that are somebody's
}

// NewIdentity starts one.
func NewIdentity(t *testing.T) *Identity {
	o := &Identity{}
	o.Origin = rawOrigin(t, func(n int, c net.Conn, br *bufio.Reader) { o.serve(n, c, br) })
	return o
}

// Hurt makes it close a connection on which a request for path comes.
func (o *Identity) Hurt(path string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hurt = path
}

// Credentials of a handshake: the first step, the second one, and a ticket that is both.
func first() string             { return encode("first") }
func second(name string) string { return encode("second " + name) }
func encode(s string) string    { return base64.StdEncoding.EncodeToString([]byte(s)) }

// Ticket is what an Authorization field says with a scheme whose handshake is a single step.
func Ticket(name string) string { return encode("ticket " + name) }

func (o *Identity) serve(_ int, c net.Conn, br *bufio.Reader) {
	who, begun := "", false
	for {
		text, err := ReadRequest(br, c)
		if err != nil {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		o.mu.Lock()
		hurt := o.hurt
		o.mu.Unlock()
		o.Origin.mu.Lock()
		o.Origin.requests = append(o.Origin.requests, text)
		o.Origin.mu.Unlock()
		if r.URL.Path == hurt {
			return
		}
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		word, _ := base64.StdEncoding.DecodeString(token)
		step, name, _ := strings.Cut(string(word), " ")
		switch {
		case step == "first":
			begun = true
			fmt.Fprintf(c, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: %s %s\r\nContent-Length: 0\r\n\r\n", scheme, encode("challenge"))
			continue
		case step == "second" && begun, step == "ticket":
			if who == "" {
				o.count(1)
				defer o.count(-1)
			}
			who = name
		}
		answer := "you are " + who
		switch {
		case who == "" && (r.URL.Path == "/health" || r.URL.Path == "/public"):
			answer = "welcome"
		case who == "":
			o.challenge(c)
			continue
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
	}
}

func (o *Identity) challenge(c io.Writer) {
	offer, code := o.Offer, o.Code
	if offer == "" {
		offer = "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n"
	}
	if code == 0 {
		code = 401
	}
	fmt.Fprintf(c, "HTTP/1.1 %d No\r\n%sContent-Length: 0\r\n\r\n", code, offer)
}

// Asker is a client with one connection.
type Asker struct {
	t  *testing.T
	c  net.Conn
	br *bufio.Reader
}

// NewAsker makes one of a connection.
func NewAsker(t *testing.T, c net.Conn) *Asker {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &Asker{t: t, c: c, br: bufio.NewReader(c)}
}

// Ask sends a GET, with an Authorization field where one is given, and returns status and body: "200 you are alice", "401 "; "closed"
// when there is no answer.
func (a *Asker) Ask(host, path, authorization string) string {
	a.t.Helper()
	field := ""
	if authorization != "" {
		field = "Authorization: " + authorization + "\r\n"
	}
	if _, err := fmt.Fprintf(a.c, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, host, field); err != nil {
		return "closed"
	}
	r, err := http.ReadResponse(a.br, nil)
	if err != nil {
		return "closed"
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return "cut"
	}
	return fmt.Sprintf("%d %s", r.StatusCode, b)
}

// SignIn makes the handshake of a scheme.
func (a *Asker) SignIn(host, scheme, name string) {
	a.t.Helper()
	if got := a.Ask(host, "/", ""); !strings.HasPrefix(got, "40") {
		a.t.Fatalf("before the handshake: %q", got)
	}
	if got := a.Ask(host, "/", scheme+" "+first()); got != "401 " {
		a.t.Fatalf("first step: %q", got)
	}
	if got := a.Ask(host, "/", scheme+" "+second(name)); got != "200 you are "+name {
		a.t.Fatalf("second step: %q", got)
	}
}

// Closed reports whether the other side ends the connection, without a word.
func (a *Asker) Closed() bool {
	n, err := a.c.Read(make([]byte, 1))
	return n == 0 && err != nil
}

// bound: a connection that carries an identity serves nobody but the client that gave it one.
func bound(t *testing.T, mk New) {
	for _, tt := range []struct {
		scheme, offer string
		code          int
	}{
		{scheme: "NTLM"},
		{scheme: "Negotiate"},
		{scheme: "ntlm", offer: "www-authenticate: Basic realm=\"a, b\", nTLM\r\n"},
		{scheme: "NEGOTIATE", offer: "WWW-AUTHENTICATE: Bearer\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"y\" , negotiate\r\n"},
		{scheme: "Nego2", offer: "WWW-Authenticate: Nego2\r\n"},
		{scheme: "Kerberos", offer: "WWW-Authenticate: Kerberos\r\n"},
		{scheme: "NTLM", code: 407, offer: "Proxy-Authenticate: NTLM\r\n"},
		{scheme: "NTLM", offer: "WWW-Authenticate: Basic\r\n"}, // not offered: the credentials alone say it
	} {
		o := NewIdentity(t)
		o.Offer, o.Code = tt.offer, tt.code
		addr, d := Start(t, mk, options(with(o.Origin)))
		alice := NewAsker(t, Dial(t, addr))
		alice.SignIn("a", tt.scheme, "alice")
		for range 5 {
			if got := alice.Ask("a", "/", ""); got != "200 you are alice" {
				t.Errorf("%+v: on the same connection: %q", tt, got)
			}
			mallory := NewAsker(t, Dial(t, addr))
			if got := mallory.Ask("a", "/", ""); !strings.HasPrefix(got, "40") {
				t.Errorf("%+v: without credentials: %q", tt, got)
			}
			_ = mallory.c.Close()
		}
		_ = alice.c.Close()
		Eventually(t, "what belonged to clients is closed with them", func() bool { return d.Stats().Clients == 0 && o.Signed() == 0 })
		if got := NewAsker(t, Dial(t, addr)).Ask("a", "/", ""); !strings.HasPrefix(got, "40") {
			t.Errorf("%+v: after alice has gone: %q", tt, got)
		}
	}
}

func (o *Identity) count(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.signed += n
}

// Signed returns how many open connections are somebody's.
func (o *Identity) Signed() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.signed
}

// boundTicket: credentials that come unasked bind a connection that others had before.
func boundTicket(t *testing.T, mk New) {
	o := NewIdentity(t)
	addr, _ := Start(t, mk, options(with(o.Origin)))
	anybody := NewAsker(t, Dial(t, addr))
	for range 20 {
		if got := anybody.Ask("a", "/public", ""); got != "200 welcome" {
			t.Fatalf("got %q", got)
		}
	}
	bob := NewAsker(t, Dial(t, addr))
	if got := bob.Ask("a", "/", "Negotiate "+Ticket("bob")); got != "200 you are bob" {
		t.Errorf("got %q", got)
	}
	for range 20 {
		if got := anybody.Ask("a", "/public", ""); got != "200 welcome" {
			t.Fatalf("somebody else: %q", got)
		}
		if got := bob.Ask("a", "/", ""); got != "200 you are bob" {
			t.Errorf("got %q", got)
		}
	}
	if n := o.Accepted(); n > 6 { // bob's and one for each loop
		t.Errorf("%d connections", n)
	}
}

// boundEnds: where one of the two connections ends, so does the other, and nothing of a handshake is sent anywhere else.
func boundEnds(t *testing.T, mk New) {
	o, other := NewIdentity(t), NewIdentity(t)
	h := with(o.Origin, other.Origin)
	addr, _ := Start(t, mk, options(h))
	a := NewAsker(t, Dial(t, addr))
	a.SignIn("a", "NTLM", "alice")
	o.Hurt("/die")
	if got := a.Ask("a", "/die", ""); got != "closed" {
		t.Errorf("the origin closed instead of an answer: %q", got)
	}
	b := NewAsker(t, Dial(t, addr))
	if got := b.Ask("a", "/", "NTLM "+first()); got != "401 " {
		t.Fatalf("got %q", got)
	}
	if got := b.Ask("a", "/die", "NTLM "+second("bob")); got != "closed" {
		t.Errorf("in the middle of a handshake: %q", got)
	}
	if got := other.Requests(); len(got) != 0 {
		t.Errorf("sent elsewhere: %q", got)
	}
	c := NewAsker(t, Dial(t, addr))
	c.SignIn("a", "NTLM", "carol")
	o.Close()
	if !c.Closed() {
		t.Error("the origin has ended, the client's connection is still open")
	}
}

// boundSites: a client that asks several upstreams in turn keeps a connection to each, but not to any number of them.
func boundSites(t *testing.T, mk New) {
	var origins []*Identity
	h := &Handler{}
	for range exchange.MaxOwn + 1 {
		o := NewIdentity(t)
		origins = append(origins, o)
		h.Upstreams = append(h.Upstreams, &exchange.Upstream{Addr: o.Addr()})
	}
	h.Decide = func(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
		d.Upstream = h.Upstreams[r.Host[0]-'a']
	}
	addr, _ := Start(t, mk, options(h))
	a := NewAsker(t, Dial(t, addr))
	host := func(i int) string { return string(rune('a' + i)) }
	for i := range exchange.MaxOwn {
		a.SignIn(host(i), "NTLM", "alice")
	}
	for range 2 {
		for i := range exchange.MaxOwn {
			if got := a.Ask(host(i), "/", ""); got != "200 you are alice" {
				t.Errorf("%d: %q", i, got)
			}
		}
	}
	a.SignIn(host(exchange.MaxOwn), "NTLM", "alice")
	if got := a.Ask(host(0), "/", ""); got != "401 " {
		t.Errorf("the one that has waited longest makes room: %q", got)
	}
	if got := a.Ask(host(2), "/", ""); got != "200 you are alice" {
		t.Errorf("others stay: %q", got)
	}
	_ = a.c.Close()
	Eventually(t, "no connection is left", func() bool {
		n := int64(0)
		for _, u := range h.Upstreams {
			n += u.Conns()
		}
		return n == 0
	})
}

// boundRetired: what waits with its client goes when its upstream is retired, and the client with it.
func boundRetired(t *testing.T, mk New) {
	o := NewIdentity(t)
	h := with(o.Origin)
	addr, _ := Start(t, mk, options(h))
	a := NewAsker(t, Dial(t, addr))
	a.SignIn("a", "NTLM", "alice")
	h.Upstreams[0].Retire()
	if !a.Closed() {
		t.Error("still open")
	}
	Eventually(t, "no connection is left", func() bool { return h.Upstreams[0].Conns() == 0 })
}
