package exchange_test

import (
	"net/netip"
	"strings"
	"testing"

	"portico/proxy/exchange"
	"portico/proxy/http1"
	"portico/proxy/wire"
)

// second sends what fails to another upstream.
type second struct {
	plan
	other *exchange.Upstream
}

func (p *second) Failed(_ *http1.Request, _ *exchange.Peer, d *exchange.Decision, why exchange.Why) {
	if why.Retry {
		d.Verdict, d.Upstream = exchange.Forward, p.other
	}
}

// TestInterimHalfWritten: an interim answer of which the client has a part is written to its end before anything else is, whether the
// request fails or goes to another upstream.
func TestInterimHalfWritten(t *testing.T) {
	const (
		hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
		going = "HTTP/1.1 100 Continue\r\n\r\n"
		ok    = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	)
	for name, test := range map[string]struct{ request, first, want, then string }{
		"failure": {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", hints, hints, "HTTP/1.1 502 Bad Gateway\r\n"},
		"retry":   {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", "", going, "HTTP/1.1 200 OK\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &second{plan{up: &exchange.Upstream{}}, &exchange.Upstream{}}
			conf := exchange.Config{Handler: p}.WithDefaults()
			var x exchange.Exchange
			now := int64(1)
			x.Begin(&conf, &heap{lent: map[*byte]bool{}}, netip.MustParseAddrPort("192.0.2.1:1"), netip.AddrPort{}, false, "", 0, now)
			in, got := map[exchange.Side]string{exchange.Client: test.request, exchange.Up: test.first}, ""
			connects := 0
			for range 100 {
				x.Now(now)
				side := exchange.Client
				switch op := x.Next(); op {
				case exchange.OpReadUpstream, exchange.OpReadClient:
					if op == exchange.OpReadUpstream {
						side = exchange.Up
					}
					n := copy(x.Space(side), in[side])
					in[side] = in[side][n:]
					x.Read(side, n, wire.Blocked)
				case exchange.OpConnect:
					if connects++; connects == 2 {
						in[exchange.Up], in[exchange.Client] = ok, "hello"
					}
					x.Connected(false, 0)
				case exchange.OpWriteUpstream:
					a, b := x.Pending(exchange.Up)
					x.Wrote(exchange.Up, len(a)+len(b), wire.More)
				case exchange.OpWriteClient:
					a, _ := x.Pending(exchange.Client)
					if got != "" {
						got += string(a)
						x.Wrote(exchange.Client, len(a), wire.More)
						break
					}
					got = string(a[:10])
					x.Wrote(exchange.Client, 10, wire.Blocked) // the client is slow, and meanwhile the upstream breaks
					x.Allow(exchange.ReadUpstream)
					x.Read(exchange.Up, 0, wire.Failed)
					x.Allow(exchange.WriteClient)
				case exchange.OpWait, exchange.OpIdle:
					if at := x.Deadline(); at != 0 && connects == 1 && in[exchange.Up] == "" && got == "" {
						now = at // of the wait for 100 Continue
						x.Now(now)
						x.Timeout()
					}
					x.Allow(exchange.ReadUpstream | exchange.ReadClient)
				}
			}
			if !strings.HasPrefix(got, test.want+test.then) {
				t.Errorf("got %q, want %q and %q", got, test.want, test.then)
			}
			x.ClientGone()
			x.Release()
		})
	}
}
