package origins

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
)

// putsOff: an origin that takes no streams for now is waited for on one connection, until it does.
func putsOff(t *testing.T, mk rig.Maker) {
	goOn := make(chan struct{})
	o := h2Origin(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}}, func(_ int, c net.Conn, fr *http2.Framer) {
		go func() {
			<-goOn
			_ = http2.NewFramer(c, nil).WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 10})
		}()
		requests(fr, func(id uint32) bool {
			say(fr, id, true, status204)
			return true
		})
	})
	client, _ := rig.StartH2(t, mk, rig.Options(toward(o)), rig.H2Settings{})
	var all []*rig.H2Stream
	for range 5 {
		all = append(all, client.Open(true, "GET /"))
	}
	rig.Eventually(t, "a connection is made", func() bool { return o.Accepted() > 0 })
	close(goOn)
	for _, s := range all {
		if got := s.Over(); got.Status() != "204" {
			t.Errorf("%+v", got)
		}
	}
	if n := o.Accepted(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

// unwilling: an origin that never takes one costs a request its time to connect, and is not asked in a hurry.
func unwilling(t *testing.T, mk rig.Maker) {
	o := h2Origin(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}}, func(_ int, _ net.Conn, fr *http2.Framer) {
		requests(fr, func(uint32) bool { return true })
	})
	opt := rig.Options(toward(o))
	opt.Timeouts.Connect = time.Second
	refused(t, mk, opt, o, "HTTP/1.1 504 ")
}

// turnsAway: an origin that goes as soon as it is reached was not reached.
func turnsAway(t *testing.T, mk rig.Maker) {
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		var out bytes.Buffer // both frames come at once
		fr := http2.NewFramer(&out, br)
		_, _ = io.ReadFull(br, make([]byte, len(http2.ClientPreface)))
		_, _ = fr.WriteSettings(), fr.WriteGoAway(0, http2.ErrCodeNo, nil)
		_, _ = c.Write(out.Bytes())
		requests(fr, func(uint32) bool { return true })
	})
	refused(t, mk, rig.Options(toward(o)), o, "HTTP/1.1 502 ")
}

// refused sends a request that gets this answer, at the cost of few connections.
func refused(t *testing.T, mk rig.Maker, opt exchange.Options, o *rig.Origin, want string) {
	t.Helper()
	addr, _ := rig.Start(t, mk, opt)
	if got := rig.Exchange(t, addr, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, want) {
		t.Errorf("%q", got)
	}
	if n := o.Accepted(); n > 3 {
		t.Errorf("%d connections were made", n)
	}
}
