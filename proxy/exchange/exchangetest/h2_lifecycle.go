package exchangetest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"portico/proxy/exchange"
	"portico/proxy/http1"
)

// h2Retry: a request whose instance refuses goes to another one, with its body.
func h2Retry(t *testing.T, mk New) {
	down, up := NewOrigin(t, always("")), NewOrigin(t, always(hello))
	down.Close()
	c, _ := startH2(t, mk, options(with(down, up)), H2Settings{})
	s := c.Open(false, "POST /", "content-length: 5")
	s.Send([]byte("hello"), true)
	if got := s.Over(); !isHello(got) {
		t.Errorf("got %+v", got)
	}
	if r := up.Requests(); len(r) != 1 || !strings.HasSuffix(r[0], "\r\n\r\nhello") {
		t.Errorf("origin got %q", r)
	}
}

// h2Park: requests wait each for itself, and go on when they are woken.
func h2Park(t *testing.T, mk New) {
	h := with(NewOrigin(t, always(hello)))
	wakes := make(chan func(), 10)
	var mu sync.Mutex
	free := false
	h.Decide = func(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
		mu.Lock()
		defer mu.Unlock()
		if string(r.Path) == "/wait" && !free {
			d.Verdict, d.ParkFor = exchange.Park, time.Hour
			if d.Parked == 0 {
				wakes <- d.Wake
			}
		}
	}
	c, _ := startH2(t, mk, options(h), H2Settings{})
	var parked []*H2Stream
	for range 3 {
		parked = append(parked, c.Open(true, "GET /wait"))
	}
	calls := []func(){<-wakes, <-wakes, <-wakes}
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("beside them: %+v", got)
	}
	mu.Lock()
	free = true
	mu.Unlock()
	for _, wake := range calls {
		wake()
	}
	for _, s := range parked {
		if got := s.Over(); !isHello(got) {
			t.Errorf("got %+v", got)
		}
	}
}

func h2SilentOrigin(t *testing.T, mk New) {
	opt := options(with(slowOrigin(t, make(chan struct{}, 10))))
	opt.Timeouts.Response = 300 * time.Millisecond
	c, _ := startH2(t, mk, opt, H2Settings{})
	if got := c.Open(true, "GET /slow").Over(); got.Status() != "504" || !got.Ended {
		t.Errorf("got %+v", got)
	}
}

// h2Revoked: nothing goes to an instance that is not trusted any more, nor comes from it; the connection goes on.
func h2Revoked(t *testing.T, mk New) {
	ended := make(chan struct{})
	var once sync.Once
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		defer once.Do(func() { close(ended) })
		readHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		for {
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond) // an answer that flows and does not end
		}
	})
	h := with(o)
	c, _ := startH2(t, mk, options(h), H2Settings{})
	s := c.Open(true, "GET /")
	s.Until("it flows", func(a *H2Answer) bool { return a.Body != "" })
	h.Upstreams[0].Kill()
	gone(t, "the origin's answer", ended)
	if got := s.Over(); got.Reset == "" || got.Ended {
		t.Errorf("the answer looks complete: reset %q", got.Reset)
	}
	if got := c.Open(true, "GET /").Over(); got.Status() != "502" {
		t.Errorf("the next one got %+v", got)
	}
}

// h2Drain: open streams finish, new ones go elsewhere, and the client is told which is which.
func h2Drain(t *testing.T, mk New) {
	hold := make(chan struct{})
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for readHead(br) != "" {
			<-hold
			_, _ = io.WriteString(c, hello)
		}
	})
	h := with(o)
	c, d := startH2(t, mk, options(h), H2Settings{})
	s := c.Open(true, "GET /")
	Eventually(t, "it is on its way", func() bool { return o.Accepted() == 1 })
	done := make(chan error, 1)
	go func() { done <- d.Shutdown(context.Background()) }()
	c.Until("GOAWAY comes", func(away *http2.GoAwayFrame, err error) bool { return away != nil })
	close(hold)
	if got := s.Over(); !isHello(got) {
		t.Errorf("got %+v", got)
	}
	c.Until("the connection ends", func(_ *http2.GoAwayFrame, err error) bool { return err != nil })
	c.mu.Lock()
	if c.away.ErrCode != http2.ErrCodeNo || !errors.Is(c.err, io.EOF) {
		t.Errorf("GOAWAY with %s, then %v", c.away.ErrCode, c.err)
	}
	c.mu.Unlock()
	c.Close() // a driver may wait for that, as long as it lingers
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// h2Stop: what is left at the end of a shutdown is cut, and recorded.
func h2Stop(t *testing.T, mk New) {
	ended := make(chan struct{}, 1)
	o := slowOrigin(t, ended)
	h := with(o)
	c, d := startH2(t, mk, options(h), H2Settings{})
	c.Open(true, "GET /slow").Until("it is asked", asked)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = d.Shutdown(ctx)
	gone(t, "the request at the origin", ended)
	c.Until("the connection ends", func(_ *http2.GoAwayFrame, err error) bool { return err != nil })
	if r := h.Records(); len(r) != 1 || r[0].Cause != exchange.CauseShutdown {
		t.Errorf("records %+v", r)
	}
}

// h2Idle: a connection without streams ends after its time, with a word.
func h2Idle(t *testing.T, mk New) {
	opt := options(with(NewOrigin(t, always(hello))))
	opt.Timeouts.Idle = 300 * time.Millisecond
	c, _ := startH2(t, mk, opt, H2Settings{})
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("got %+v", got)
	}
	c.Until("the connection ends", func(_ *http2.GoAwayFrame, err error) bool { return err != nil })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away == nil || c.away.ErrCode != http2.ErrCodeNo {
		t.Errorf("GOAWAY %v, then %v", c.away, c.err)
	}
}

// h2Private: what belongs to a connection needs HTTP/1.1 (RFC 9113, 7).
func h2Private(t *testing.T, mk New) {
	o := NewOrigin(t, always(hello))
	h := with(o)
	h.Decide = func(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
		d.Private = string(r.Path) == "/private"
	}
	c, _ := startH2(t, mk, options(h), H2Settings{})
	for _, fields := range [][]string{{"GET /private"}, {"GET /", "authorization: NTLM TlRMTVNTUAABAAAA"}} {
		if got := c.Open(true, fields...).Over(); got.Reset != "HTTP_1_1_REQUIRED" || got.Head != "" {
			t.Errorf("%v: got %+v", fields, got)
		}
	}
	if n := o.Accepted(); n != 0 {
		t.Errorf("%d connections to the origin", n)
	}
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("the next one got %+v", got)
	}
}
