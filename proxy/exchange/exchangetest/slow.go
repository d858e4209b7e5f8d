package exchangetest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/proxy/exchange"
)

// A body, and the pieces after which a slow side pauses.
const (
	slowSize   = 6 << 20
	slowPieces = 130
)

// pace is how slow the slow sides are: a whole message takes more than twice the time after which a side that does nothing is given up, and
// the few pieces that move at a time next to none.
type pace struct {
	pause time.Duration // after each piece
	limit time.Duration // of the proxy's patience
	late  atomic.Bool   // a few pieces took half of it: what else runs on the machine may have taken the other half
}

const fewPieces = 8

func newPace(pause, slower time.Duration) *pace {
	return &pace{pause: slower * pause, limit: slower * 3 * time.Second}
}

// slow is one side's way with a body: in pieces, with pauses, or at once.
type slow struct {
	*pace
	pauses bool
	since  time.Time // the beginning of a few pieces
	count  int       // of them until now
}

func (s *slow) piece() {
	s.look()
	if s.count++; s.count > fewPieces || s.since.IsZero() {
		s.since, s.count = time.Now(), 0
	}
	if s.pauses {
		time.Sleep(s.pause) // what the test is about
	}
}

// look notes when the machine is too slow for the pace.
func (s *slow) look() {
	if !s.since.IsZero() && time.Since(s.since) > s.limit/2 {
		s.late.Store(true)
	}
}

// send writes a body of slowSize bytes, in one chunk for each piece, or as they are.
func (s *slow) send(w io.Writer, chunked bool) error {
	defer s.look()
	piece := bytes.Repeat([]byte("x"), slowSize/slowPieces)
	for left := slowSize; left > 0; left -= len(piece) {
		piece = piece[:min(left, len(piece))]
		if chunked {
			if _, err := fmt.Fprintf(w, "%x\r\n%s\r\n", len(piece), piece); err != nil {
				return err
			}
		} else if _, err := w.Write(piece); err != nil {
			return err
		}
		s.piece()
	}
	if chunked {
		_, err := io.WriteString(w, "0\r\n\r\n")
		return err
	}
	return nil
}

// take reads what send sends, and counts the bytes of the body.
func (s *slow) take(br *bufio.Reader, chunked bool) (n int) {
	defer s.look()
	piece := make([]byte, slowSize/slowPieces)
	left, since := slowSize, 0
	for first := true; ; first = false {
		if chunked && (first || left == 0) {
			if !first {
				_, _ = br.Discard(2)
			}
			if _, err := fmt.Fscanf(br, "%x\r\n", &left); err != nil {
				return n
			}
		}
		if left == 0 {
			return n
		}
		m, err := io.ReadFull(br, piece[:min(left, len(piece)-since)])
		n, left, since = n+m, left-m, since+m
		if err != nil {
			return n
		}
		if since == len(piece) {
			s.piece()
			since = 0
		}
	}
}

func slowFraming(chunked bool) string {
	if chunked {
		return "Transfer-Encoding: chunked\r\n\r\n"
	}
	return fmt.Sprintf("Content-Length: %d\r\n\r\n", slowSize)
}

// slowSides: a message may take as long as it needs while its bytes move, whichever side is the slow one, whatever moves them. Where the
// machine was as slow as the proxy's patience allows, nothing is shown, and the same is done at a slower pace.
func slowSides(t *testing.T, mk New) {
	cert, pool := Certificate(t)
	list := make([]int, 16)
	for i := range list {
		list[i] = i
	}
	for slower := time.Duration(1); len(list) > 0; slower *= 4 {
		list = slowSidesAt(t, mk, slower, cert, pool, list)
	}
}

// slowSidesAt tries those of list at a pace, and returns those that have to be tried again.
func slowSidesAt(t *testing.T, mk New, slower time.Duration, cert tls.Certificate, pool *x509.CertPool, list []int) (again []int) {
	var mu sync.Mutex
	var wg sync.WaitGroup // not subtests in parallel, of which as many run as there are processors: these only wait
	for _, i := range list {
		upload, slowClient, chunked, secure := i&1 != 0, i&2 != 0, i&4 != 0, i&8 != 0
		p := newPace(50*time.Millisecond, slower)
		run := slowSide(t, mk, cert, pool, upload, &slow{pace: p, pauses: slowClient}, &slow{pace: p, pauses: !slowClient}, chunked, secure)
		wg.Go(func() {
			err := run()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
			case p.late.Load() && slower < 16:
				again = append(again, i)
			default:
				t.Errorf("upload %v, client slow %v, chunked %v, TLS %v: %v", upload, slowClient, chunked, secure, err)
			}
		})
	}
	wg.Wait()
	return again
}

// slowSide returns what moves one message.
func slowSide(t *testing.T, mk New, cert tls.Certificate, pool *x509.CertPool, upload bool, client, origin *slow, chunked, secure bool) func() error {
	server := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	visitor := &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13}
	took := make(chan int, 1)
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		_ = c.(*net.TCPConn).SetReadBuffer(64 << 10)
		if secure {
			c = tls.Server(c, server)
			br = bufio.NewReader(c)
		}
		readHead(br)
		if upload {
			took <- origin.take(br, chunked)
			_, _ = io.WriteString(c, hello)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+slowFraming(chunked))
		if origin.send(c, chunked) == nil {
			_, _ = br.ReadByte() // until the proxy has done with it
		}
	})
	opt := options(with(o))
	opt.Timeouts.Body, opt.Timeouts.Response, opt.Timeouts.Write = client.limit, client.limit, client.limit
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opt.Listeners = []exchange.Listener{{Listener: ln}}
	if secure {
		opt.Listeners[0].TLS, opt.Handler.(*Handler).Upstreams[0].TLS = server, visitor
	}
	addr, _ := Start(t, mk, opt)
	c := Dial(t, addr)
	_ = c.(*net.TCPConn).SetReadBuffer(64 << 10)
	if secure {
		c = tls.Client(c, visitor)
	}
	return func() error {
		br := bufio.NewReader(c)
		if upload {
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\n"+slowFraming(chunked))
			err := client.send(c, chunked)
			if got := readHead(br); got[:min(len(got), 15)] != hello[:15] || err != nil {
				return fmt.Errorf("the client got %q, %v", got, err)
			}
			if n := <-took; n != slowSize {
				return fmt.Errorf("the origin took %d bytes of %d", n, slowSize)
			}
			return nil
		}
		_, _ = io.WriteString(c, get)
		head := readHead(br)
		if n := client.take(br, chunked); n != slowSize {
			return fmt.Errorf("the client took %d bytes of %d after %q: %+v", n, slowSize, head, opt.Handler.(*Handler).Records())
		}
		return nil
	}
}

// trickle: a client that takes a piece now and then is not given up, also over TLS, where a driver holds more than the client takes in the
// time for one piece.
func trickle(t *testing.T, mk New) {
	for slower := time.Duration(1); ; slower *= 4 {
		p := newPace(120*time.Millisecond, slower)
		n, err := trickleAt(t, mk, p)
		if err == nil {
			return
		}
		if !p.late.Load() || slower == 16 {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

// trickleAt returns how many bytes of an answer have come.
func trickleAt(t *testing.T, mk New, p *pace) (int, error) {
	const size = 90_000
	cert, pool := Certificate(t)
	body := bytes.Repeat([]byte("x"), size)
	o := NewOrigin(t, always(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, body)))
	opt := options(with(o))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	shrink(t, ln, 4<<10)
	opt.Listeners = []exchange.Listener{{Listener: ln, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}}}
	opt.Timeouts.Write = p.limit
	addr, _ := Start(t, mk, opt)
	raw, err := (&net.Dialer{Control: narrow}).Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	c := tls.Client(&sips{raw, &slow{pace: p, pauses: true}}, &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13})
	_, _ = io.WriteString(c, get)
	br := bufio.NewReader(c)
	readHead(br)
	n, err := io.ReadFull(br, body)
	if err != nil {
		err = fmt.Errorf("%w, of %d, %+v", err, size, opt.Handler.(*Handler).Records())
	}
	return n, err
}

// sips takes 1 KiB at a time: 8 KiB a second or fewer.
type sips struct {
	net.Conn
	*slow
}

func (s *sips) Read(b []byte) (int, error) {
	s.piece()
	defer s.look()
	return s.Conn.Read(b[:min(len(b), 1<<10)])
}
