package exchange_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/exchange/exchangetest/table"
	"portico/proxy/http1"
	"portico/proxy/wire"
)

// heap lends buffers and fills those that come back with poison, so that a use after Put shows.
type heap struct{ lent map[*byte]bool }

func (h *heap) Get(size int) []byte {
	b := make([]byte, max(size, 8<<10))
	h.lent[&b[0]] = true
	return b
}

func (h *heap) Put(b []byte) {
	b = b[:cap(b)]
	if !h.lent[&b[0]] {
		panic("BUG: a buffer came back twice, or was never lent")
	}
	delete(h.lent, &b[0])
	for i := range b {
		b[i] = '!'
	}
}

// plan is a handler for simulations: everything goes to one upstream.
type plan struct {
	up       *exchange.Upstream
	finished int
	routed   int
	cut      bool // the last answer
}

func (p *plan) Route(_ *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
	p.routed++
	d.Upstream, d.MaxBody, d.StripCookie = p.up, 1<<20, "portico"
}

func (p *plan) Answered(*http1.Request, *http1.Response, *exchange.Decision) {}

func (p *plan) Hinted(*http1.Request, *http1.Response, *exchange.Decision) []byte { return nil }

func (p *plan) Failed(*http1.Request, *exchange.Peer, *exchange.Decision, exchange.Why) {}

func (p *plan) Finished(_ *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
	rec := d.Record
	p.finished++
	p.cut = rec.Cause != account.CauseNone && !rec.Local
}

// simulation drives an exchange without sockets: client and upstream are byte slices, cut in pieces.
type simulation struct {
	client, upstream []byte // still to be read by the exchange
	step             int    // bytes of a read or write
	toClient         []byte
	sent             [][]byte // to each connection of the upstream
	aborted, closed  bool
	breaks           bool // the first connection to the upstream, when it has taken
	takes            int  // bytes
}

// run returns when the exchange is over. It panics when the exchange spins.
func (s *simulation) run(p *plan) {
	conf := exchange.Config{Handler: p}.WithDefaults()
	mem := &heap{lent: map[*byte]bool{}}
	var x exchange.Exchange
	now := int64(1)
	x.Begin(&conf, mem, netip.MustParseAddrPort("192.0.2.1:1"), netip.AddrPort{}, false, "", 0, now)
	all := exchange.ReadClient | exchange.WriteClient | exchange.ReadUpstream | exchange.WriteUpstream
	for range 1_000_000 {
		x.Now(now)
		x.Allow(all)
		switch op := x.Next(); op {
		case exchange.OpReadClient:
			s.client = s.feed(&x, exchange.Client, s.client)
		case exchange.OpReadUpstream:
			s.upstream = s.feed(&x, exchange.Up, s.upstream)
		case exchange.OpWriteClient:
			s.toClient = append(s.toClient, s.drain(&x, exchange.Client)...)
		case exchange.OpWriteUpstream:
			i := len(s.sent) - 1
			if s.breaks && i == 0 && len(s.sent[0]) >= s.takes {
				x.Wrote(exchange.Up, 0, wire.Failed)
				break
			}
			s.sent[i] = append(s.sent[i], s.drain(&x, exchange.Up)...)
		case exchange.OpConnect:
			s.sent = append(s.sent, nil)
			x.Connected(false, 0)
		case exchange.OpWait, exchange.OpIdle:
			at := x.Deadline()
			if at == 0 {
				x.Read(exchange.Client, 0, wire.EOF)
				if op == exchange.OpWait {
					x.ClientGone()
				}
				continue
			}
			now = max(now, at)
			x.Now(now)
			x.Timeout()
		case exchange.OpClose, exchange.OpAbort:
			s.aborted, s.closed = op == exchange.OpAbort, true
			x.Release()
			if len(mem.lent) != 0 {
				panic(fmt.Sprintf("BUG: %d buffers never came back", len(mem.lent)))
			}
			return
		case exchange.OpReleaseUpstream, exchange.OpDropUpstream, exchange.OpShutClient, exchange.OpShutUpstream:
		default:
			panic(fmt.Sprintf("BUG: operation %d", op))
		}
	}
	panic("BUG: the exchange spins")
}

func (s *simulation) feed(x *exchange.Exchange, side exchange.Side, from []byte) []byte {
	b := x.Space(side)
	if len(b) == 0 {
		x.Read(side, 0, wire.Failed)
		return from
	}
	if len(from) == 0 {
		x.Read(side, 0, wire.EOF)
		return nil
	}
	n := copy(b[:min(len(b), s.step)], from)
	x.Read(side, n, wire.More)
	return from[n:]
}

func (s *simulation) drain(x *exchange.Exchange, side exchange.Side) []byte {
	head, body := x.Pending(side)
	all := append(append([]byte(nil), head...), body...)
	all = all[:min(len(all), s.step)]
	x.Wrote(side, len(all), wire.More)
	return all
}

func TestExchangeInEveryCut(t *testing.T) {
	request := "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"
	answers := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nxyz"
	for step := 1; step < 200; step++ {
		s := simulation{client: []byte(request), step: step}
		s.upstream = []byte(answers)
		p := &plan{up: &exchange.Upstream{}}
		s.run(p)
		if p.finished != p.routed {
			t.Fatalf("step %d: %d routed, %d finished", step, p.routed, p.finished)
		}
		if !strings.HasPrefix(string(s.toClient), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n") {
			t.Fatalf("step %d: %q", step, s.toClient)
		}
	}
}

// FuzzExchange is two-sided: whatever a client and an origin send, what the origin sees are whole requests that the standard library
// reads as we meant them, or a connection that breaks off; and what the client sees are whole answers, or a reset.
func FuzzExchange(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), 7)
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), []byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n"), 100)
	f.Add([]byte("HEAD / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nCookie: portico=1\r\n\r\n"), []byte("HTTP/1.0 200 OK\r\n\r\nbody"), 1)
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nabc"), []byte("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\ndef"), 50)
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"), []byte("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), 500)
	for i, c := range table.Cases {
		if client, upstream := strings.Join(c.Send, ""), strings.Join(c.Answer, ""); len(client)+len(upstream) < table.SeedMost {
			f.Add([]byte(client), []byte(upstream), 7*i)
		}
	}
	f.Fuzz(func(t *testing.T, client, upstream []byte, step int) {
		s := simulation{client: client, upstream: upstream, step: max(step&1023, 1)}
		p := &plan{up: &exchange.Upstream{}}
		s.run(p)
		if p.finished < p.routed {
			t.Fatalf("%d routed, %d finished", p.routed, p.finished)
		}
		for _, sent := range s.sent {
			checkSent(t, sent)
		}
		if !bytes.Contains(client, []byte("HEAD ")) { // then there are lengths without bodies
			checkAnswers(t, &s, p)
		}
	})
}

// checkSent: every connection carries at most one request here, and nothing behind it, unless it became a tunnel.
func checkSent(t *testing.T, sent []byte) {
	br := bufio.NewReader(bytes.NewReader(sent))
	r, err := http.ReadRequest(br)
	if err != nil {
		if bytes.Contains(sent, []byte("\r\n\r\n")) && !strings.Contains(err.Error(), "parse ") && !strings.Contains(err.Error(), "invalid URI") {
			t.Fatalf("the origin cannot read %q: %v", sent, err)
		}
		return
	}
	_, err = io.Copy(io.Discard, r.Body)
	if rest, _ := io.ReadAll(br); err == nil && len(rest) > 0 && r.Header.Get("Upgrade") == "" {
		t.Fatalf("bytes behind the request: %q in %q", rest, sent)
	}
}

// checkAnswers: unless the connection was reset, the standard library finds whole answers, and nothing else but one that
// shows that it was cut.
func checkAnswers(t *testing.T, s *simulation, p *plan) {
	if s.aborted {
		return
	}
	br := bufio.NewReader(bytes.NewReader(s.toClient))
	for {
		if _, err := br.Peek(1); err != nil {
			return
		}
		r, err := http.ReadResponse(br, &http.Request{Method: http.MethodGet})
		if err != nil {
			t.Fatalf("the client cannot read %q: %v", s.toClient, err)
		}
		if r.StatusCode == http.StatusSwitchingProtocols {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil && !p.cut {
			t.Fatalf("a whole answer was cut: %q: %v", s.toClient, err)
		} else if err != nil {
			return
		}
	}
}

// TestBodyIsNoRequest: what an upstream did not take of a body is passed over, however far it came. It must not be read as requests, which
// whoever wrote the uploaded file would make in its sender's name.
func TestBodyIsNoRequest(t *testing.T) {
	body := strings.Repeat("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", 200)
	request := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	for _, answer := range []string{"", "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"} {
		for takes := 0; takes < len(request); takes += 97 {
			for _, step := range []int{97, 1000, 8 << 10, 64 << 10} {
				s := &simulation{client: []byte(request), upstream: []byte(answer), step: step, breaks: true, takes: takes}
				p := &plan{up: &exchange.Upstream{}}
				s.run(p)
				if p.routed > 1 || bytes.Count(s.toClient, []byte("HTTP/1.1 ")) > 1 {
					t.Fatalf("broken after %d bytes, %d at a time: %d requests were routed; the client got %.300q", takes, step, p.routed, s.toClient)
				}
			}
		}
	}
}
