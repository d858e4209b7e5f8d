package streams

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
	"portico/proxy/exchange/account"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
	"portico/proxy/http1"
)

// retry: a request whose instance refuses goes to another one, with its body.
func retry(t *testing.T, mk rig.Maker) {
	down, up := rig.NewOrigin(t, rig.Always("")), rig.NewOrigin(t, rig.Always(table.Hello))
	down.Close()
	c, _ := rig.StartH2(t, mk, rig.Options(rig.With(down, up)), rig.H2Settings{})
	s := c.Open(false, "POST /", "content-length: 5")
	s.Send([]byte("hello"), true)
	if got := s.Over(); !isHello(got) {
		t.Errorf("got %+v", got)
	}
	if r := up.Requests(); len(r) != 1 || !strings.HasSuffix(r[0], "\r\n\r\nhello") {
		t.Errorf("origin got %q", r)
	}
}

// park: requests wait each for itself, and go on when they are woken.
func park(t *testing.T, mk rig.Maker) {
	h := rig.With(rig.NewOrigin(t, rig.Always(table.Hello)))
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
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	var parked []*rig.H2Stream
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

func silentOrigin(t *testing.T, mk rig.Maker) {
	opt := rig.Options(rig.With(slowOrigin(t, make(chan struct{}, 10))))
	opt.Timeouts.Response = 300 * time.Millisecond
	c, _ := rig.StartH2(t, mk, opt, rig.H2Settings{})
	if got := c.Open(true, "GET /slow").Over(); got.Status() != "504" || !got.Ended {
		t.Errorf("got %+v", got)
	}
}

// revoked: nothing goes to an instance that is not trusted any more, nor comes from it; the connection goes on.
func revoked(t *testing.T, mk rig.Maker) {
	ended := make(chan struct{})
	var once sync.Once
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		defer once.Do(func() { close(ended) })
		rig.ReadHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		for {
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond) // an answer that flows and does not end
		}
	})
	h := rig.With(o)
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	s := c.Open(true, "GET /")
	s.Until("it flows", func(a *rig.H2Answer) bool { return a.Body != "" })
	h.Upstreams[0].Kill()
	rig.Gone(t, "the origin's answer", ended)
	if got := s.Over(); got.Reset == "" || got.Ended {
		t.Errorf("the answer looks complete: reset %q", got.Reset)
	}
	if got := c.Open(true, "GET /").Over(); got.Status() != "502" {
		t.Errorf("the next one got %+v", got)
	}
}

// drain: open streams finish, new ones go elsewhere, and the client is told which is which.
func drain(t *testing.T, mk rig.Maker) {
	hold := make(chan struct{})
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for rig.ReadHead(br) != "" {
			<-hold
			_, _ = io.WriteString(c, table.Hello)
		}
	})
	h := rig.With(o)
	c, d := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	s := c.Open(true, "GET /")
	rig.Eventually(t, "it is on its way", func() bool { return o.Accepted() == 1 })
	done := make(chan error, 1)
	go func() { done <- d.Shutdown(context.Background()) }()
	c.Until("GOAWAY comes", func(away *http2.GoAwayFrame, err error) bool { return away != nil })
	close(hold)
	if got := s.Over(); !isHello(got) {
		t.Errorf("got %+v", got)
	}
	c.Until("the connection ends", func(_ *http2.GoAwayFrame, err error) bool { return err != nil })
	if away, err := c.Away(); away.ErrCode != http2.ErrCodeNo || !errors.Is(err, io.EOF) {
		t.Errorf("GOAWAY with %s, then %v", away.ErrCode, err)
	}
	c.Close() // a driver may wait for that, as long as it lingers
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// stop: what is left at the end of a shutdown is cut, and recorded.
func stop(t *testing.T, mk rig.Maker) {
	ended := make(chan struct{}, 1)
	o := slowOrigin(t, ended)
	h := rig.With(o)
	c, d := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	c.Open(true, "GET /slow").Until("it is asked", asked)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = d.Shutdown(ctx)
	rig.Gone(t, "the request at the origin", ended)
	c.Until("the connection ends", func(_ *http2.GoAwayFrame, err error) bool { return err != nil })
	if r := h.Records(); len(r) != 1 || r[0].Cause != account.CauseShutdown {
		t.Errorf("records %+v", r)
	}
}

// idle: a connection without streams ends after its time, with a word.
func idle(t *testing.T, mk rig.Maker) {
	opt := rig.Options(rig.With(rig.NewOrigin(t, rig.Always(table.Hello))))
	opt.Timeouts.Idle = 300 * time.Millisecond
	c, _ := rig.StartH2(t, mk, opt, rig.H2Settings{})
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("got %+v", got)
	}
	c.Until("the connection ends", func(_ *http2.GoAwayFrame, err error) bool { return err != nil })
	if away, err := c.Away(); away == nil || away.ErrCode != http2.ErrCodeNo {
		t.Errorf("GOAWAY %v, then %v", away, err)
	}
}

// private: what belongs to a connection needs HTTP/1.1 (RFC 9113, 7).
func private(t *testing.T, mk rig.Maker) {
	o := rig.NewOrigin(t, rig.Always(table.Hello))
	h := rig.With(o)
	h.Decide = func(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
		d.Private = string(r.Path) == "/private"
	}
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
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
