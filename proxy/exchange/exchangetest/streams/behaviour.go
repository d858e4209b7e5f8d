package streams

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"portico/proxy/exchange/account"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

// behaviours are what a driver does with streams of HTTP/2.
var behaviours = map[string]func(*testing.T, rig.Maker){
	"answers":         answers,
	"bodies":          bodies,
	"trailers":        trailers,
	"interim":         interim,
	"continue":        continues,
	"early":           early,
	"cut":             cut,
	"client resets":   clientResets,
	"client leaves":   clientLeaves,
	"still streams":   stillStreams,
	"slow upload":     slowUpload,
	"faint client":    faintClient,
	"slow head":       slowHead,
	"slow pieces":     slowPieces,
	"tunnel":          tunnel,
	"tunnel refused":  tunnelRefused,
	"tunnel falsely":  tunnelFalsely,
	"half a tunnel":   tunnelHalf,
	"retry":           retry,
	"park":            park,
	"silent origin":   silentOrigin,
	"revoked":         revoked,
	"drain":           drain,
	"cut at the stop": stop,
	"idle":            idle,
	"private":         private,
	"mixed":           mixed,
	"both ways":       bothWays,
	"windows":         windows,
	"limit":           limit,
}

// Run runs what only streams can show.
func Run(t *testing.T, mk rig.Maker) {
	for name, f := range behaviours {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, mk)
		})
	}
}

const helloHead = ":status: 200\ncontent-length: 5\n"

func isHello(a rig.H2Answer) bool {
	return a.Head == helloHead && a.Body == "hello" && a.Ended && a.Reset == ""
}

// slowOrigin reads heads and answers "/" at once, everything else with an interim head and no more; ended
// gets a value for each of these that ends.
func slowOrigin(t *testing.T, ended chan<- struct{}) *rig.Origin {
	return rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			head := rig.ReadHead(br)
			switch {
			case head == "":
				return
			case strings.HasPrefix(head, "GET / "):
				_, _ = io.WriteString(c, table.Hello)
			default:
				_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n")
				_, _ = io.Copy(io.Discard, br)
				ended <- struct{}{}
				return
			}
		}
	})
}

// asked reports whether a request has reached a slowOrigin.
func asked(a *rig.H2Answer) bool { return len(a.Interim) == 1 }

// clientResets: whoever gives a request up frees its instance at once.
func clientResets(t *testing.T, mk rig.Maker) {
	ended := make(chan struct{}, 10)
	h := rig.With(slowOrigin(t, ended))
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	s := c.Open(true, "GET /slow")
	s.Until("it is asked", asked)
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("beside it: %+v", got)
	}
	s.Cancel()
	rig.Gone(t, "the request at the origin", ended)
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("after it: %+v", got)
	}
	rig.Eventually(t, "it is recorded", func() bool { return len(h.Records()) == 3 })
	for _, r := range h.Records() {
		if want := map[string]account.Cause{"/slow": account.CauseClient}[r.Target]; r.Cause != want {
			t.Errorf("%s is recorded with %s", r.Target, r.Cause)
		}
	}
}

func clientLeaves(t *testing.T, mk rig.Maker) {
	ended := make(chan struct{}, 10)
	h := rig.With(slowOrigin(t, ended))
	c, d := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	for range 5 {
		c.Open(true, "GET /slow").Until("it is asked", asked)
	}
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("beside them: %+v", got)
	}
	c.Close()
	for range 5 {
		rig.Gone(t, "a request at the origin", ended)
	}
	rig.Eventually(t, "all are recorded", func() bool { return len(h.Records()) == 6 })
	rig.Eventually(t, "nothing is left", func() bool { s := d.Stats(); return s.Clients == 0 })
}

// mixed: many streams at a time, each gets its own answer.
func mixed(t *testing.T, mk rig.Maker) {
	o := rig.NewOrigin(t, func(_ int, r string, c net.Conn) bool {
		path := strings.Fields(r)[1]
		_, body, _ := strings.Cut(r, "\r\n\r\n")
		body = path + ":" + body
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		return err == nil
	})
	c, _ := rig.StartH2(t, mk, rig.Options(rig.With(o)), rig.H2Settings{})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for k := range 10 {
				body := strings.Repeat(fmt.Sprintf("%d.%d ", i, k), 1+i*k*20)
				s := c.Open(false, fmt.Sprintf("POST /%d-%d", i, k), fmt.Sprintf("content-length: %d", len(body)))
				s.Send([]byte(body), true)
				if got := s.Over(); got.Body != fmt.Sprintf("/%d-%d:%s", i, k, body) {
					t.Errorf("stream %d-%d got %d bytes %.40q, want %d", i, k, len(got.Body), got.Body, len(body)+6)
					return
				}
			}
		})
	}
	wg.Wait()
}

// bothWays: bodies flow in both directions of a stream at once.
func bothWays(t *testing.T, mk rig.Maker) {
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		rig.ReadHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n")
		_, _ = io.CopyN(c, br, 4_000_000)
	})
	c, _ := rig.StartH2(t, mk, rig.Options(rig.With(o)), rig.H2Settings{})
	body := strings.Repeat("0123456789", 400_000)
	var wg sync.WaitGroup
	for range 3 {
		s := c.Open(false, "POST /", "content-length: 4000000")
		wg.Go(func() { s.Send([]byte(body), true) })
		wg.Go(func() {
			if got := s.Over(); got.Body != body || !got.Ended {
				t.Errorf("got %d bytes, reset %q", len(got.Body), got.Reset)
			}
		})
	}
	wg.Wait()
}

// limit: a hundred streams at a time are served; one more is refused, and may come again.
func limit(t *testing.T, mk rig.Maker) {
	hold := make(chan struct{})
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for rig.ReadHead(br) != "" {
			<-hold
			_, _ = io.WriteString(c, table.Hello)
		}
	})
	c, _ := rig.StartH2(t, mk, rig.Options(rig.With(o)), rig.H2Settings{})
	var open []*rig.H2Stream
	for range 100 {
		open = append(open, c.Open(true, "GET /"))
	}
	if got := c.Open(true, "GET /").Over(); got.Reset != "REFUSED_STREAM" {
		t.Errorf("one more: %+v", got)
	}
	close(hold)
	for _, s := range open {
		if got := s.Over(); !isHello(got) {
			t.Fatalf("got %+v", got)
		}
	}
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("afterwards: %+v", got)
	}
}
