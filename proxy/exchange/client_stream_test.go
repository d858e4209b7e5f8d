package exchange_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/http1"
	"portico/proxy/wire"
)

// transcript is a sink that writes down what the client of a stream gets: a line for each head, its body in quotes, and how it ended.
type transcript struct {
	b    strings.Builder
	last bool // the stream's end was sent
	body strings.Builder
}

func (s *transcript) Head(status int) {
	s.flush()
	if s.last {
		s.b.WriteString("[behind the end] ")
	}
	fmt.Fprintf(&s.b, "%d", status)
}

func (s *transcript) Field(name, value []byte) { fmt.Fprintf(&s.b, " %s=%s", name, value) }

func (s *transcript) EndHead(last bool) {
	s.last = last
	if last {
		s.b.WriteString(" end")
	}
	s.b.WriteString("; ")
}

func (s *transcript) write(b []byte, end bool) {
	s.body.Write(b)
	if end {
		s.last = true
		fmt.Fprintf(&s.b, "%q end; ", s.body.String())
		s.body.Reset()
	}
}

func (s *transcript) flush() {
	if s.body.Len() > 0 {
		fmt.Fprintf(&s.b, "%q; ", s.body.String())
		s.body.Reset()
	}
}

func (s *transcript) String() string {
	s.flush()
	return strings.TrimSuffix(s.b.String(), "; ")
}

// streamTest is one stream: what its client sends, what the upstream answers on each connection, and what comes of it.
type streamTest struct {
	head, body, trailers string
	open                 bool
	waits                bool     // the body comes when 100 Continue was said
	early                bool     // the upstream answers before it was asked in full
	most                 int      // bytes at a time, 0: as many as there are
	answers              []string // of each connection, which ends behind it; at "|", it waits until nothing else can be done
	handler              exchange.Handler
	want                 string // what the client gets
	sent                 string // to the last upstream
	op                   exchange.Op
	why                  account.Cause
	reused               exchange.Op // how the upstream's connection was let go
}

// streamRun drives a stream's exchange without sockets, step bytes at a time.
type streamRun struct {
	*streamTest
	x       exchange.Exchange
	got     transcript
	step    int
	in, up  string
	sent    []string
	let     exchange.Op
	now     int64
	upReads bool // the upstream's answer is there
	reads   int  // of the body
}

func (s *streamRun) run(t *testing.T, h exchange.Handler) (op exchange.Op) {
	t.Helper()
	conf := exchange.Config{Handler: h}.WithDefaults()
	mem := &heap{lent: map[*byte]bool{}}
	x := &s.x
	s.now = 1
	x.Begin(&conf, mem, netip.MustParseAddrPort("192.0.2.1:1"), netip.AddrPort{}, true, "a", 0, s.now)
	x.Stream(&s.got, s.open)
	for rest := s.head; rest != ""; {
		n := copy(x.Space(exchange.Client), rest)
		x.Read(exchange.Client, n, wire.More)
		rest = rest[n:]
	}
	s.in = s.body
	for range 1_000_000 {
		s.allow()
		if op = x.Next(); !s.do(op) {
			x.Release()
			if len(mem.lent) != 0 {
				t.Fatalf("%d buffers never came back", len(mem.lent))
			}
			return op
		}
	}
	t.Fatal("the exchange spins")
	return 0
}

// allow lets an answer come when nothing else can be done.
func (s *streamRun) allow() {
	ready := exchange.WriteClient | exchange.WriteUpstream
	if !s.waits || strings.Contains(s.got.b.String(), "100;") {
		ready |= exchange.ReadClient
	}
	if s.upReads || s.early {
		ready |= exchange.ReadUpstream
	}
	s.x.Only(ready)
}

func (s *streamRun) do(op exchange.Op) bool {
	x := &s.x
	switch op {
	case exchange.OpReadClient:
		s.read()
	case exchange.OpWriteClient:
		a, b := x.Pending(exchange.Client)
		all := string(a) + string(b)
		n := min(len(all), s.step)
		s.got.write([]byte(all[:n]), x.Ends(exchange.Client) && n == len(all))
		x.Wrote(exchange.Client, n, wire.More)
	case exchange.OpReadUpstream:
		b := x.Space(exchange.Up)
		now, later, more := strings.Cut(s.up, "|")
		if now == "" && more {
			s.up, s.upReads = later, false
			x.Read(exchange.Up, 0, wire.Blocked)
			break
		}
		n := copy(b[:min(len(b), s.step)], now)
		s.up = s.up[n:]
		if n == 0 {
			x.Read(exchange.Up, 0, wire.EOF)
			break
		}
		x.Read(exchange.Up, n, wire.More)
	case exchange.OpWriteUpstream:
		a, b := x.Pending(exchange.Up)
		all := string(a) + string(b)
		n := min(len(all), s.step)
		s.sent[len(s.sent)-1] += all[:n]
		x.Wrote(exchange.Up, n, wire.More)
	case exchange.OpConnect:
		s.up = ""
		if i := len(s.sent); i < len(s.answers) {
			s.up = s.answers[i]
		}
		s.sent, s.upReads = append(s.sent, ""), false
		x.Connected(false, 0)
	case exchange.OpWait:
		s.wait()
	case exchange.OpReleaseUpstream, exchange.OpDropUpstream:
		s.let = op
	case exchange.OpShutClient:
		s.got.write(nil, true)
	case exchange.OpShutUpstream:
	default:
		return false
	}
	return true
}

func (s *streamRun) read() {
	x := &s.x
	if s.in == "" {
		if s.trailers != "" {
			x.Trailers([]byte(s.trailers))
		}
		x.Read(exchange.Client, 0, wire.EOF)
		return
	}
	b := x.Space(exchange.Client)
	n := copy(b[:min(len(b), s.step)], s.in)
	s.in = s.in[n:]
	s.reads++
	if s.in == "" && s.trailers == "" && s.step%2 == 0 {
		x.Read(exchange.Client, n, wire.EOF)
		return
	}
	x.Read(exchange.Client, n, wire.More)
}

func (s *streamRun) wait() {
	if !s.upReads {
		s.upReads = true
		return
	}
	if at := s.x.Deadline(); at > s.now {
		s.now = at
		s.x.Now(at)
		s.x.Timeout()
	}
}

const (
	getHead  = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
	headHead = "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n"
	postHead = "POST /x HTTP/1.1\r\nHost: a\r\n\r\n"
	wsHead   = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nsec-websocket-version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	switching = "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: p\r\nSec-WebSocket-Accept: %s\r\n\r\n"
	rightKey  = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	plainFor  = " Content-Type=text/plain; charset=utf-8 Cache-Control=no-store content-length="
)

// fixed is a handler that decides one thing.
type fixed struct {
	plan
	decide func(d *exchange.Decision)
	major  int
}

func (p *fixed) Route(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
	p.major = r.Major
	d.Upstream, d.MaxBody = p.up, 1<<20
	if p.decide != nil {
		p.decide(d)
	}
}

func deciding(f func(d *exchange.Decision)) *fixed {
	return &fixed{plan: plan{up: &exchange.Upstream{}}, decide: f}
}

func elsewhere() *second {
	return &second{plan{up: &exchange.Upstream{}}, &exchange.Upstream{}}
}

func streamTests() map[string]streamTest {
	chunked := "Transfer-Encoding: chunked\r\n"
	return map[string]streamTest{
		"length": {
			head: getHead, answers: []string{"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 3\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\r\nabc"},
			want: `200 Server=s content-length=3; "abc" end`, reused: exchange.OpReleaseUpstream,
		},
		"nothing": {
			head: getHead, answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}, want: "200 content-length=0 end", reused: exchange.OpReleaseUpstream,
		},
		"HEAD": {
			head: headHead, answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"}, want: "200 content-length=5 end", reused: exchange.OpReleaseUpstream,
		},
		"HEAD of a chunked answer": {
			head: headHead, answers: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"}, want: "200 end", reused: exchange.OpReleaseUpstream,
		},
		"204": {head: getHead, answers: []string{"HTTP/1.1 204 No\r\n\r\n"}, want: "204 end", reused: exchange.OpReleaseUpstream},
		"304": {
			head: getHead, answers: []string{"HTTP/1.1 304 Not\r\nETag: \"a\"\r\nContent-Length: 7\r\n\r\n"}, want: `304 ETag="a" content-length=7 end`,
			reused: exchange.OpReleaseUpstream,
		},
		"chunked": {
			head: getHead, answers: []string{"HTTP/1.1 200 OK\r\n" + chunked + "\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"}, want: `200; "abcde" end`,
			reused: exchange.OpReleaseUpstream,
		},
		"chunked with trailers": {
			head: getHead, answers: []string{"HTTP/1.1 200 OK\r\nTrailer: Grpc-Status\r\n" + chunked + "\r\n3\r\nabc\r\n0\r\nGrpc-Status:0\r\nSet-Cookie: a=b\r\n\r\n"},
			want: `200 Trailer=Grpc-Status; "abc"; 0 Grpc-Status=0 end`, reused: exchange.OpReleaseUpstream,
		},
		"trailers behind nothing": {
			head: getHead, answers: []string{"HTTP/1.1 200 OK\r\n" + chunked + "\r\n0\r\nA: b\r\n\r\n"}, want: `200; 0 A=b end`, reused: exchange.OpReleaseUpstream,
		},
		"trailers that may not travel": {
			head: getHead, answers: []string{"HTTP/1.1 200 OK\r\n" + chunked + "\r\n1\r\na\r\n0\r\nSet-Cookie: a=b\r\n\r\n"}, want: `200; "a" end`,
			reused: exchange.OpReleaseUpstream,
		},
		"until close": {head: getHead, answers: []string{"HTTP/1.1 200 OK\r\n\r\nabc"}, want: `200; "abc" end`, reused: exchange.OpDropUpstream},
		"until close, empty": {
			head: getHead, answers: []string{"HTTP/1.0 200 OK\r\n\r\n"}, want: `200; "" end`, reused: exchange.OpDropUpstream,
		},
		"a large body": {
			head: getHead, answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000)},
			want: `200 content-length=100000; "` + strings.Repeat("x", 100000) + `" end`, reused: exchange.OpReleaseUpstream,
		},
		"early hints": {
			head: getHead, answers: []string{"HTTP/1.1 103 Early\r\nLink: </a>\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"},
			want: `103 Link=</a>; 200 content-length=1; "a" end`, reused: exchange.OpReleaseUpstream,
		},
		"body with a length": {
			head: "POST /x HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\n", open: true, body: "hello", answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
			want: "200 content-length=0 end", sent: "Content-Length: 5\r\n\r\nhello", reused: exchange.OpReleaseUpstream,
		},
		"body without a length": {
			head: postHead, open: true, body: "hello", answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
			want: "200 content-length=0 end", sent: "\r\n0\r\n\r\n", reused: exchange.OpReleaseUpstream,
		},
		"body without a length, and with trailers": {
			head: postHead, open: true, body: "hello", trailers: "grpc-status: 0\r\nhost: b\r\n\r\n",
			answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
			want:    "400" + plainFor + `16; "400 Bad Request\n" end`, reused: exchange.OpDropUpstream,
		},
		"trailers": {
			head: postHead, open: true, body: "hello", trailers: "x-sum: 1\r\ndate: now\r\n\r\n", answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
			want: "200 content-length=0 end", sent: "\r\n0\r\nx-sum: 1\r\n\r\n", reused: exchange.OpReleaseUpstream,
		},
		"trailers behind a length": {
			head: "POST /x HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\n", open: true, body: "hello", trailers: "x-sum: 1\r\n\r\n",
			answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}, want: "200 content-length=0 end", sent: "\r\n\r\nhello", reused: exchange.OpReleaseUpstream,
		},
		"a body that ends at once": {
			head: postHead, open: true, answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
			want: "200 content-length=0 end", sent: "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", reused: exchange.OpReleaseUpstream,
		},
		"an upload that is too large": {
			head: postHead, open: true, body: strings.Repeat("x", 1001), handler: deciding(func(d *exchange.Decision) { d.MaxBody = 1000 }), want: "413" + plainFor + `22; "413 Content Too Large\n" end`, reused: exchange.OpDropUpstream,
		},
		"100-continue": {
			head: "POST /x HTTP/1.1\r\nHost: a\r\nexpect: 100-continue\r\n\r\n", open: true, waits: true, body: "hello",
			answers: []string{"HTTP/1.1 100 Continue\r\n\r\n|HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
			want:    "100; 200 content-length=0 end", sent: "\r\n0\r\n\r\n", reused: exchange.OpReleaseUpstream,
		},
		"100-continue refused": {
			head: "POST /x HTTP/1.1\r\nHost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n", open: true, waits: true,
			answers: []string{"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"}, want: `403 content-length=2; "no" end`, reused: exchange.OpDropUpstream,
		},
		"100-continue of an empty body": {
			head: "POST /x HTTP/1.1\r\nHost: a\r\nexpect: 100-continue\r\n\r\n", open: true,
			answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}, want: "200 content-length=0 end", reused: exchange.OpReleaseUpstream,
		},
		"refused by the parser": {
			head: "GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n", want: "400" + plainFor + `16; "400 Bad Request\n" end`,
		},
		"a head that is too long": {
			head: "GET /x HTTP/1.1\r\nHost: a\r\nx: " + strings.Repeat("y", 17_000) + "\r\n\r\n",
			want: "431" + plainFor + `36; "431 Request Header Fields Too Large\n" end`,
		},
		"answered here": {
			head: getHead, handler: deciding(func(d *exchange.Decision) {
				d.Verdict, d.Status, d.Header, d.Body = exchange.Answer, 302, []byte("Location: /y\r\n"), []byte("there")
				d.AnswerFields = []byte("Set-Cookie: a=b\r\n")
			}), want: `302 Location=/y Set-Cookie=a=b content-length=5; "there" end`,
		},
		"answered here without a body": {
			head: getHead, handler: deciding(func(d *exchange.Decision) {
				d.Verdict, d.Status, d.Header = exchange.Answer, 302, []byte("Location: /y\r\n")
			}), want: `302 Location=/y content-length=0 end`,
		},
		"HEAD answered here": {
			head: headHead, handler: deciding(func(d *exchange.Decision) { d.Verdict, d.Status = exchange.Answer, 404 }), want: "404" + plainFor + "14 end",
		},
		"204 answered here": {
			head: getHead, handler: deciding(func(d *exchange.Decision) { d.Verdict, d.Status = exchange.Answer, 204 }), want: "204 end",
		},
		"fields of the handler's": {
			head: getHead, handler: deciding(func(d *exchange.Decision) { d.AnswerFields, d.BarCookie = []byte("Set-Cookie: p=1\r\n"), "admin" }),
			answers: []string{"HTTP/1.1 200 OK\r\nSet-Cookie: admin=1\r\nSet-Cookie: x=1\r\nContent-Length: 0\r\n\r\n"},
			want:    "200 Set-Cookie=x=1 Set-Cookie=p=1 content-length=0 end", reused: exchange.OpReleaseUpstream,
		},
		"an answer that is none": {
			head: getHead, answers: []string{"HTTP/1.1 OK\r\n\r\n"}, want: "502" + plainFor + `16; "502 Bad Gateway\n" end`, reused: exchange.OpDropUpstream,
		},
		"cut before a length": {
			head: getHead, answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"}, want: `200 content-length=5; "abc"`,
			op: exchange.OpAbort, why: account.CauseUpstream, reused: exchange.OpDropUpstream,
		},
		"cut in chunks": {
			head: getHead, answers: []string{"HTTP/1.1 200 OK\r\n" + chunked + "\r\n3\r\nabc\r\n"}, want: `200; "abc"`,
			op: exchange.OpAbort, why: account.CauseUpstream, reused: exchange.OpDropUpstream,
		},
		"malformed chunks": {
			head: getHead, answers: []string{"HTTP/1.1 200 OK\r\n" + chunked + "\r\n" + "3\r\nabc\r\nxyz\r\n"},
			want: `200; "abc"`, most: 2, op: exchange.OpAbort, why: account.CauseResponse, reused: exchange.OpDropUpstream,
		},
		"another upstream": {
			head: getHead, handler: elsewhere(), answers: []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"}, want: `200 content-length=1; "a" end`,
			reused: exchange.OpReleaseUpstream,
		},
		"another upstream, with a body of known length": {
			head: "PUT /x HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\n", open: true, body: "hello", handler: elsewhere(),
			answers: []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"}, want: `200 content-length=1; "a" end`,
			sent: "Content-Length: 5\r\n\r\nhello", reused: exchange.OpReleaseUpstream,
		},
		"another upstream, with a body of unknown length": {
			head: "PUT /x HTTP/1.1\r\nHost: a\r\n\r\n", open: true, body: "hello", trailers: "x-sum: 1\r\n\r\n", handler: elsewhere(),
			answers: []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"}, want: `200 content-length=1; "a" end`,
			sent: "\r\n0\r\nx-sum: 1\r\n\r\n", reused: exchange.OpReleaseUpstream,
		},
		"no other upstream for what cannot go twice": {
			head: postHead, open: true, body: "hello", handler: elsewhere(), answers: []string{""}, want: "502" + plainFor + `16; "502 Bad Gateway\n" end`,
			reused: exchange.OpDropUpstream,
		},
		"a tunnel": {
			head: wsHead, open: true, body: "ping", answers: []string{fmt.Sprintf(switching, rightKey) + "pong"},
			want: `200 Sec-WebSocket-Protocol=p; "pong" end`, sent: "\r\n\r\nping",
		},
		"a tunnel with the wrong key": {
			head: wsHead, open: true, answers: []string{fmt.Sprintf(switching, "s3pPLMBiTxaQ9kYGzzhZRbK+xOp=")},
			want: "502" + plainFor + `16; "502 Bad Gateway\n" end`, reused: exchange.OpDropUpstream,
		},
		"a success that is no tunnel": {
			head: wsHead, open: true, answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"},
			want: "502" + plainFor + `16; "502 Bad Gateway\n" end`, reused: exchange.OpDropUpstream,
		},
		"a tunnel refused": {
			head: wsHead, open: true, answers: []string{"HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\na"}, want: `403 content-length=1; "a" end`,
			reused: exchange.OpReleaseUpstream,
		},
		"credentials that belong to a connection": {
			head: "GET /x HTTP/1.1\r\nHost: a\r\nauthorization: Negotiate abc\r\n\r\n", op: exchange.OpAbort, why: account.CauseBound,
		},
		"a private site": {
			head: getHead, handler: deciding(func(d *exchange.Decision) { d.Private = true }), op: exchange.OpAbort, why: account.CauseBound,
		},
		"credentials asked for": {
			head: getHead, answers: []string{"HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"},
			want: "401 WWW-Authenticate=NTLM content-length=0 end", reused: exchange.OpDropUpstream,
		},
	}
}

// TestStream: a client that is a stream gets what a client over HTTP/1 gets, in heads and plain bytes, and the end exactly once.
func TestStream(t *testing.T) {
	for name, test := range streamTests() {
		t.Run(name, func(t *testing.T) {
			for _, step := range []int{1, 2, 7, 50, 1000, 1 << 20} {
				if test.most > 0 && step > test.most || step < 50 && len(test.want)+len(test.body)+len(test.head) > 10_000 {
					continue
				}
				h := test.handler
				if h == nil {
					h = &plan{up: &exchange.Upstream{}}
				}
				s := &streamRun{streamTest: &test, step: step}
				op := s.run(t, h)
				if test.op == 0 {
					test.op = exchange.OpClose
				}
				if op != test.op {
					t.Errorf("step %d: operation %d ends it, want %d", step, op, test.op)
				}
				if op == exchange.OpAbort && s.x.Why() != test.why {
					t.Errorf("step %d: aborted for %v, want %v", step, s.x.Why(), test.why)
				}
				if got := s.got.String(); got != test.want {
					t.Errorf("step %d: the client gets\n%.300s, want\n%.300s", step, got, test.want)
				}
				if test.reused != 0 && s.let != test.reused {
					t.Errorf("step %d: operation %d ends the upstream's part, want %d", step, s.let, test.reused)
				}
				if op == exchange.OpClose && !s.got.last {
					t.Errorf("step %d: the stream was never ended: %.300s", step, s.got.String())
				}
				if n := len(s.sent); test.sent != "" && (n == 0 || !strings.HasSuffix(s.sent[n-1], test.sent)) {
					t.Errorf("step %d: the upstream got %.600q", step, s.sent)
				}
				if test.why == account.CauseBound && len(s.sent) > 0 {
					t.Errorf("step %d: an upstream was touched", step)
				}
			}
		})
	}
}
