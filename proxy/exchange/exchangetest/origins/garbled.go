package origins

import (
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/http1"
)

// garbled: an answer that is none is the answer's fault and not the connection's: nobody else is
// asked, and who shares the connection goes on.
func garbled(t *testing.T, mk rig.Maker) {
	o := h2Origin(t, nil, func(_ int, _ net.Conn, fr *http2.Framer) {
		requests(fr, func(id uint32) bool {
			switch id {
			case 1: // DATA without a head
				_ = fr.WriteData(id, true, []byte("x"))
			case 3: // a length, and no body
				say(fr, id, true, status200, 0x0f, 0x0d, 1, '5')
			case 5: // an unclean name
				say(fr, id, true, status200, 0, 1, 'A', 1, 'b')
			default:
				say(fr, id, true, status204)
			}
			return true
		})
	})
	h := toward(o)
	h.Upstreams = append(h.Upstreams, &exchange.Upstream{Addr: o.Addr(), HTTP2: true})
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	for _, want := range []string{"502", "502", "502", "204"} {
		if got := c.Open(true, "GET /").Over(); got.Status() != want {
			t.Errorf("%+v", got)
		}
	}
	for i, r := range h.Records() {
		if i < 3 && (r.Cause != account.CauseResponse || r.Fault != http1.FaultMalformed || r.Attempts != 1) {
			t.Errorf("%+v", r)
		}
	}
	if n := o.Accepted(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

// givesUpLate: what the origin gives up in the middle of its answer, its client hears of in the same words, too.
func givesUpLate(t *testing.T, mk rig.Maker) {
	goOn := make(chan struct{}, 1)
	o := h2Origin(t, nil, func(_ int, _ net.Conn, fr *http2.Framer) {
		requests(fr, func(id uint32) bool {
			say(fr, id, false, status200)
			_ = fr.WriteData(id, false, []byte("half"))
			<-goOn
			_ = fr.WriteRSTStream(id, http2.ErrCodeCancel)
			return true
		})
	})
	h := toward(o)
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	s := c.Open(true, "GET /")
	s.Until("half of it", func(a *rig.H2Answer) bool { return a.Body == "half" })
	goOn <- struct{}{}
	if got := s.Over(); got.Reset != "CANCEL" {
		t.Errorf("%+v", got)
	}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	goOn <- struct{}{}
	if got := rig.Exchange(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); strings.HasSuffix(got, "0\r\n\r\n") {
		t.Errorf("a cut answer looks whole: %q", got)
	}
	for _, r := range h.Records() {
		if r.Cause != account.CauseReset {
			t.Errorf("%+v", r)
		}
	}
}
