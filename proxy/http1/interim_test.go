package http1_test

import (
	"net/netip"
	"strings"
	"testing"

	"portico/proxy/http1"
)

// second sends what fails to another upstream.
type second struct {
	plan
	other *http1.Upstream
}

func (p *second) Failed(_ *http1.Request, _ *http1.Peer, d *http1.Decision, why http1.Why) {
	if why.Retry {
		d.Verdict, d.Upstream = http1.Forward, p.other
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
			p := &second{plan{up: &http1.Upstream{}}, &http1.Upstream{}}
			conf := http1.Config{Handler: p}.WithDefaults()
			var x http1.Exchange
			now := int64(1)
			x.Begin(&conf, &heap{lent: map[*byte]bool{}}, netip.MustParseAddrPort("192.0.2.1:1"), netip.AddrPort{}, false, "", 0, now)
			in, got := map[http1.Side]string{http1.Client: test.request, http1.Up: test.first}, ""
			connects := 0
			for range 100 {
				x.Now(now)
				side := http1.Client
				switch op := x.Next(); op {
				case http1.OpReadUpstream, http1.OpReadClient:
					if op == http1.OpReadUpstream {
						side = http1.Up
					}
					n := copy(x.Space(side), in[side])
					in[side] = in[side][n:]
					x.Read(side, n, http1.Blocked)
				case http1.OpConnect:
					if connects++; connects == 2 {
						in[http1.Up], in[http1.Client] = ok, "hello"
					}
					x.Connected(false, 0)
				case http1.OpWriteUpstream:
					a, b := x.Pending(http1.Up)
					x.Wrote(http1.Up, len(a)+len(b), http1.More)
				case http1.OpWriteClient:
					a, _ := x.Pending(http1.Client)
					if got != "" {
						got += string(a)
						x.Wrote(http1.Client, len(a), http1.More)
						break
					}
					got = string(a[:10])
					x.Wrote(http1.Client, 10, http1.Blocked) // the client is slow, and meanwhile the upstream breaks
					x.Allow(http1.ReadUpstream)
					x.Read(http1.Up, 0, http1.Failed)
					x.Allow(http1.WriteClient)
				case http1.OpWait, http1.OpIdle:
					if at := x.Deadline(); at != 0 && connects == 1 && in[http1.Up] == "" && got == "" {
						now = at // of the wait for 100 Continue
						x.Now(now)
						x.Timeout()
					}
					x.Allow(http1.ReadUpstream | http1.ReadClient)
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
