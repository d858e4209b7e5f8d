package tests

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"portico/tests/harness"
)

// countingApp is an application that counts how often each request has come.
type countingApp struct {
	mu   sync.Mutex
	came map[string]int // guarded by mu
}

func (a *countingApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.came[r.URL.Path]++
	n := len(a.came)
	a.mu.Unlock()
	got, _ := io.Copy(io.Discard, r.Body)
	time.Sleep(time.Duration(n%7) * time.Millisecond)
	_, _ = w.Write(counts(r.URL.Path, int(got)))
}

func (a *countingApp) times(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.came[path]
}

// counts is the answer to a request with a body of so many bytes: of a length that no other one near it has.
func counts(path string, body int) []byte {
	text := path + " " + strconv.Itoa(body) + "\n"
	return bytes.Repeat([]byte(text), 1+len(text)*7%200)
}

// TestGoAway: what the last GOAWAY of a connection says is true of each of its streams, across reloads, take-overs and the end, with both
// drivers and clients that go on asking until they are told, or beyond. A stream up to the last one is answered whole; one beyond it has
// not reached the application, and may be asked again.
func TestGoAway(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("sockets are handed over on Linux and macOS")
	}
	for _, engine := range []string{"loop", "conn"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			app := &countingApp{came: map[string]int{}}
			origin := httptest.NewServer(app)
			t.Cleanup(origin.Close)
			config, roots := certificateConfig(t, fmt.Sprintf("[[site]]\nname = \"counted\"\nhealth.type = \"tcp\"\nhealth.interval = \"200ms\"\n[[site.upstream]]\nname = \"one\"\naddr = %q\n",
				origin.Listener.Addr().String()))
			p := harness.StartProxy(t, append(config, "--set", "proxy.engine="+engine)...)
			settled(t, p, "counted", 1)
			g := &goaways{t: t, addr: p.HTTPS, roots: roots, app: app}
			ctx, stop := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for n := range 6 {
				all.Go(func() { g.load(ctx, n) })
			}
			g.goesOn()
			for range 2 {
				p.Signal(syscall.SIGHUP)
				g.goesOn()
				former := p.Process
				p.Process = former.Successor()
				harness.Eventually(t, time.Minute, logged(former, "handed over: running requests may finish"))
				harness.Eventually(t, time.Minute, logged(p.Process, "taken over"))
				if code := former.Wait(2 * time.Minute); code != 0 {
					t.Errorf("the former process ended with %d", code)
				}
				g.goesOn()
			}
			stop() // no more connections; those that there are go on until they are told
			p.Signal(syscall.SIGTERM)
			p.Wait(2 * time.Minute)
			all.Wait()
			t.Logf("%d streams of %d connections answered, %d may be asked again", g.answered.Load(), g.connections.Load(), g.again.Load())
			if g.ended.Load() < 6*3 {
				t.Errorf("only %d connections were told to end", g.ended.Load())
			}
		})
	}
}

// goaways is a load, and what became of it.
type goaways struct {
	t     *testing.T
	addr  string
	roots *x509.CertPool
	app   *countingApp

	answered, again, connections, ended atomic.Int64
}

// goesOn waits for more answers.
func (g *goaways) goesOn() {
	g.t.Helper()
	before := g.answered.Load()
	harness.Eventually(g.t, time.Minute, func() error {
		if n := g.answered.Load() - before; n < 300 {
			return errf("only %d more answers", n)
		}
		return nil
	})
}

// load makes one connection after the other until ctx is over.
func (g *goaways) load(ctx context.Context, n int) {
	for k := 0; ctx.Err() == nil; k++ {
		conn, err := tls.Dial("tcp", g.addr, &tls.Config{RootCAs: g.roots, ServerName: "localhost", NextProtos: []string{"h2"}})
		if err != nil {
			if ctx.Err() == nil {
				g.t.Errorf("connect: %v", err)
			}
			return
		}
		g.connections.Add(1)
		c := &goawayClient{g: g, name: fmt.Sprintf("/%d/%d/", n, k), last: math.MaxUint32, told: make(chan struct{}), free: make(chan struct{}, 30),
			stubborn: n%2 == 1, streams: map[uint32]*goawayStream{}}
		c.run(conn)
		_ = conn.Close()
	}
}

// goawayStream is what has come of one.
type goawayStream struct {
	status string
	body   []byte
	ended  bool
	reset  string
}

// goawayClient is one connection.
type goawayClient struct {
	g        *goaways
	name     string
	stubborn bool // it does not answer the PING that comes with the first GOAWAY
	free     chan struct{}
	told     chan struct{} // closed once the last GOAWAY has come
	last     uint32        // its stream

	mu      sync.Mutex // guards what is written, and streams
	fr      *http2.Framer
	streams map[uint32]*goawayStream
}

func (c *goawayClient) path(id uint32) string { return c.name + strconv.Itoa(int(id)) }

// body is how much a stream's request has of it.
func (c *goawayClient) body(id uint32) int {
	if id%8 == 1 {
		return 1000
	}
	return 0
}

// run asks until the connection ends, and looks what became of each stream.
func (c *goawayClient) run(conn *tls.Conn) {
	_ = conn.SetDeadline(time.Now().Add(3 * time.Minute))
	_, _ = io.WriteString(conn, http2.ClientPreface)
	c.fr = http2.NewFramer(conn, conn)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = c.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	_ = c.fr.WriteWindowUpdate(0, 1<<30)
	var asking sync.WaitGroup
	over := make(chan struct{})
	asking.Go(func() { c.ask(over) })
	err := c.read()
	close(over)
	asking.Wait()
	c.judge(err)
}

// ask opens streams until the last GOAWAY has come, and three more, as if they had crossed it.
func (c *goawayClient) ask(over chan struct{}) {
	more := 3
	for id := uint32(1); more > 0; id += 2 {
		select {
		case c.free <- struct{}{}:
		case <-c.told:
			more--
		case <-over:
			return
		}
		if c.request(id) != nil {
			return
		}
	}
}

func (c *goawayClient) request(id uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.body(id)
	method := "GET"
	if n > 0 {
		method = "POST"
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "localhost"}, {":path", c.path(id)}} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	c.streams[id] = &goawayStream{}
	err := c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: n == 0, EndHeaders: true})
	if err == nil && n > 0 {
		err = c.fr.WriteData(id, true, make([]byte, n))
	}
	return err
}

// read takes what comes until the connection ends.
func (c *goawayClient) read() error {
	for {
		frame, err := c.fr.ReadFrame()
		if err != nil {
			return err
		}
		c.mu.Lock()
		err = c.take(frame)
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func (c *goawayClient) take(frame http2.Frame) error {
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			_ = c.fr.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() && !c.stubborn {
			_ = c.fr.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		switch {
		case f.ErrCode != http2.ErrCodeNo:
			return fmt.Errorf("GOAWAY %v", f.ErrCode)
		case f.LastStreamID > c.last:
			return fmt.Errorf("a GOAWAY with %d behind one with %d", f.LastStreamID, c.last)
		case c.last != f.LastStreamID && f.LastStreamID != math.MaxInt32:
			if c.last > math.MaxInt32-1 {
				close(c.told)
			}
			c.last = f.LastStreamID
		}
	case *http2.MetaHeadersFrame:
		s := c.streams[f.StreamID]
		s.status = f.PseudoValue("status")
		c.ends(s, f.StreamEnded())
	case *http2.DataFrame:
		s := c.streams[f.StreamID]
		s.body = append(s.body, f.Data()...)
		c.ends(s, f.StreamEnded())
	case *http2.RSTStreamFrame:
		c.streams[f.StreamID].reset += f.ErrCode.String()
	}
	return nil
}

func (c *goawayClient) ends(s *goawayStream, last bool) {
	if last && !s.ended {
		s.ended = true
		c.g.answered.Add(1)
		<-c.free
	}
}

// judge holds each stream to what the last GOAWAY has said.
func (c *goawayClient) judge(err error) {
	g := c.g
	if c.last > math.MaxInt32-1 {
		g.t.Errorf("connection %s ended without its last GOAWAY: %v", c.name, err)
		return
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		g.t.Errorf("connection %s ended with %v", c.name, err)
	}
	g.ended.Add(1)
	for id, s := range c.streams {
		whole := s.status == "200" && s.ended && s.reset == "" && bytes.Equal(s.body, counts(c.path(id), c.body(id)))
		came := g.app.times(c.path(id))
		switch {
		case id <= c.last && (!whole || came != 1):
			g.t.Errorf("stream %s of %d: status %s, %d bytes, ended %v, reset %q, and came to the application %d times", c.path(id), c.last, s.status, len(s.body), s.ended, s.reset, came)
		case id > c.last && (came != 0 || s.status != "" || s.reset != "" && !strings.Contains(s.reset, "REFUSED")):
			g.t.Errorf("stream %s beyond %d: status %s, reset %q, and came to the application %d times", c.path(id), c.last, s.status, s.reset, came)
		case id > c.last:
			g.again.Add(1)
		}
	}
}
