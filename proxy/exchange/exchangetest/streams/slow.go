package streams

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
	"portico/proxy/http1"
)

// stillStreams: streams whose client takes nothing stop nobody, and end when their time is over.
func stillStreams(t *testing.T, mk rig.Maker) {
	big := "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536)
	h := rig.With(rig.NewOrigin(t, func(_ int, r string, c net.Conn) bool {
		text := table.Hello
		if strings.HasPrefix(r, "GET /big ") {
			text = big
		}
		_, err := io.WriteString(c, text)
		return err == nil
	}))
	opt := rig.Options(h)
	opt.Timeouts.Write = 1500 * time.Millisecond
	c, _ := rig.StartH2(t, mk, opt, rig.H2Settings{Window: 10})
	var still []*rig.H2Stream
	for range 20 {
		still = append(still, c.Open(true, "GET /big"))
	}
	for _, s := range still {
		s.Until("what the window lets through", func(a *rig.H2Answer) bool { return len(a.Body) == 10 })
	}
	for range 10 {
		if got := c.Open(true, "GET /").Over(); !isHello(got) {
			t.Fatalf("beside them: %+v", got)
		}
	}
	for _, s := range still {
		if got := s.Over(); got.Reset != "CANCEL" || len(got.Body) != 10 {
			t.Errorf("a still stream: reset %q after %d bytes", got.Reset, len(got.Body))
		}
	}
}

func slowUpload(t *testing.T, mk rig.Maker) {
	h := rig.With(rig.NewOrigin(t, rig.Always(table.Hello)))
	opt := rig.Options(h)
	opt.Timeouts.Body = time.Second
	c, _ := rig.StartH2(t, mk, opt, rig.H2Settings{})
	s := c.Open(false, "POST /", "content-length: 10")
	s.Send([]byte("01234"), false)
	if got := s.Over(); got.Status() != "408" {
		t.Errorf("got %+v", got)
	}
	rig.Eventually(t, "it is recorded", func() bool { return len(h.Records()) == 1 })
	if r := h.Records()[0]; r.Status != 408 || r.Fault != http1.FaultBodyTimeout || r.Cause != account.CauseRequest {
		t.Errorf("recorded as %+v", r)
	}
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("the next one got %+v", got)
	}
}

// slowPieces: a body that moves, but next to nothing, ends as one that does not move.
func slowPieces(t *testing.T, mk rig.Maker) {
	h := rig.With(rig.NewOrigin(t, rig.Always(table.Hello)))
	opt := rig.Options(h)
	opt.Timeouts.Body, opt.Timeouts.Grace, opt.Timeouts.MinRate = time.Minute, 500*time.Millisecond, 1<<20
	c, _ := rig.StartH2(t, mk, opt, rig.H2Settings{})
	s := c.Open(false, "POST /", "content-length: 10000")
	for range 10_000 {
		s.Send([]byte("x"), false)
		if got := s.Got(); got.Status() != "" || got.Reset != "" {
			break
		}
		time.Sleep(20 * time.Millisecond) // the client is slow
	}
	if got := s.Over(); got.Status() != "408" {
		t.Errorf("got %+v", got)
	}
}

// slowHead: while a head is incomplete no other frame may come on its connection (RFC 9113, 6.10), and nobody can be answered who has not
// asked: the connection ends when the time for a head is over, however often a piece of it comes.
func slowHead(t *testing.T, mk rig.Maker) {
	for _, pieces := range []bool{false, true} {
		h := rig.With(rig.NewOrigin(t, rig.Always(table.Hello)))
		opt := rig.Options(h)
		opt.Timeouts.Header = time.Second
		ln, pool := rig.H2Listener(t)
		opt.Listeners = []exchange.Listener{ln}
		addr, _ := rig.Start(t, mk, opt)
		c := tls.Client(rig.Dial(t, addr), rig.H2Config(pool))
		fr := http2.NewFramer(c, c)
		_, _ = io.WriteString(c, http2.ClientPreface)
		_ = fr.WriteSettings()
		if f, err := fr.ReadFrame(); err != nil || f.Header().Type != http2.FrameSettings {
			t.Fatal(f, err)
		}
		_ = fr.WriteSettingsAck()
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}, EndStream: true}) // :method: GET
		away := make(chan *http2.GoAwayFrame, 1)
		go func() {
			defer close(away)
			for {
				f, err := fr.ReadFrame()
				if err != nil {
					return
				}
				if f, ok := f.(*http2.GoAwayFrame); ok {
					away <- f
					return
				}
			}
		}()
		var end *http2.GoAwayFrame
		for waits := true; waits; {
			select {
			case end = <-away:
				waits = false
			case <-time.After(20 * time.Millisecond): // the client is slow
				if pieces {
					_ = fr.WriteContinuation(1, false, []byte{0x82})
				}
			}
		}
		if end == nil || end.ErrCode != http2.ErrCodeEnhanceYourCalm || end.LastStreamID != 0 {
			t.Errorf("pieces %v: it ended with %v", pieces, end)
		}
		if n := len(h.Records()); n != 0 {
			t.Errorf("%d requests were recorded, of which none was made", n)
		}
	}
}

// faintClient: a client is not given up while it takes what the system holds for it, however little (see faintSides).
func faintClient(t *testing.T, mk rig.Maker) {
	for slower := time.Duration(1); ; slower *= 4 {
		p := rig.NewPace(rig.FaintPause, slower)
		got := faintly(t, mk, p)
		if len(got.Body) == rig.FaintSize && got.Ended {
			return
		}
		if !p.Late.Load() || slower >= 16 {
			t.Fatalf("the client took %d bytes of %d, reset %q", len(got.Body), rig.FaintSize, got.Reset)
		}
	}
}

func faintly(t *testing.T, mk rig.Maker, p *rig.Pace) rig.H2Answer {
	body := strings.Repeat("0123456789abcdef", rig.FaintSize/16)
	opt := rig.Options(rig.With(rig.NewOrigin(t, rig.Always(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)))))
	opt.Timeouts.Write = p.Limit
	ln, pool := rig.H2Listener(t)
	opt.Listeners = []exchange.Listener{ln}
	addr, _ := rig.Start(t, mk, opt)
	raw, err := (&net.Dialer{Control: rig.Narrow}).Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := rig.NewH2(t, tls.Client(&rig.Faintly{TCPConn: raw.(*net.TCPConn), Slow: &rig.Slow{Pace: p, Pauses: true}}, rig.H2Config(pool)), rig.H2Settings{})
	return c.Open(true, "GET /").After()
}

// windows: a client that gives room in small and odd pieces gets everything.
func windows(t *testing.T, mk rig.Maker) {
	body := strings.Repeat("0123456789", 20_000)
	o := rig.NewOrigin(t, rig.Always(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)))
	c, _ := rig.StartH2(t, mk, rig.Options(rig.With(o)), rig.H2Settings{Window: 1, Keeps: true})
	var wg sync.WaitGroup
	for i := range 4 {
		s := c.Open(true, "GET /")
		wg.Go(func() {
			for have := 1; have < len(body); {
				n := min(1+(have*7+i)%4096, len(body)-have)
				s.Room(uint32(n))
				have += n
				s.Until("the room is used", func(a *rig.H2Answer) bool { return len(a.Body) >= have || a.Reset != "" })
			}
			if got := s.Over(); got.Body != body || !got.Ended {
				t.Errorf("got %d of %d bytes, reset %q", len(got.Body), len(body), got.Reset)
			}
		})
	}
	wg.Wait()
}
