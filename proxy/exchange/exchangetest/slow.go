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
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

// slowSides: a message may take as long as it needs while its bytes move, whichever side is the slow one, whatever moves them. Where the
// machine was as slow as the proxy's patience allows, nothing is shown, and the same is done at a slower pace.
func slowSides(t *testing.T, mk rig.Maker) {
	cert, pool := rig.Certificate(t)
	list := make([]int, 16)
	for i := range list {
		list[i] = i
	}
	for slower := time.Duration(1); len(list) > 0; slower *= 4 {
		list = slowSidesAt(t, mk, slower, cert, pool, list)
	}
}

// slowSidesAt tries those of list at a pace, and returns those that have to be tried again.
func slowSidesAt(t *testing.T, mk rig.Maker, slower time.Duration, cert tls.Certificate, pool *x509.CertPool, list []int) (again []int) {
	var mu sync.Mutex
	var wg sync.WaitGroup // not subtests in parallel, of which as many run as there are processors: these only wait
	for _, i := range list {
		upload, slowClient, chunked, secure := i&1 != 0, i&2 != 0, i&4 != 0, i&8 != 0
		p := rig.NewPace(50*time.Millisecond, slower)
		run := slowSide(t, mk, cert, pool, upload, &rig.Slow{Pace: p, Pauses: slowClient}, &rig.Slow{Pace: p, Pauses: !slowClient}, chunked, secure)
		wg.Go(func() {
			err := run()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
			case p.Late.Load() && slower < 16:
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
func slowSide(t *testing.T, mk rig.Maker, cert tls.Certificate, pool *x509.CertPool, upload bool, client, origin *rig.Slow, chunked, secure bool) func() error {
	server := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	visitor := &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13}
	took := make(chan int, 1)
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		_ = c.(*net.TCPConn).SetReadBuffer(64 << 10)
		if secure {
			c = tls.Server(c, server)
			br = bufio.NewReader(c)
		}
		rig.ReadHead(br)
		if upload {
			took <- origin.Take(br, chunked)
			_, _ = io.WriteString(c, table.Hello)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+rig.SlowFraming(chunked))
		if origin.Send(c, chunked) == nil {
			_, _ = br.ReadByte() // until the proxy has done with it
		}
	})
	opt := rig.Options(rig.With(o))
	opt.Timeouts.Body, opt.Timeouts.Response, opt.Timeouts.Write = client.Limit, client.Limit, client.Limit
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opt.Listeners = []exchange.Listener{{Listener: ln}}
	if secure {
		opt.Listeners[0].TLS, opt.Handler.(*rig.Handler).Upstreams[0].TLS = server, visitor
	}
	addr, _ := rig.Start(t, mk, opt)
	c := rig.Dial(t, addr)
	_ = c.(*net.TCPConn).SetReadBuffer(64 << 10)
	if secure {
		c = tls.Client(c, visitor)
	}
	return func() error {
		br := bufio.NewReader(c)
		if upload {
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\n"+rig.SlowFraming(chunked))
			err := client.Send(c, chunked)
			if got := rig.ReadHead(br); got[:min(len(got), 15)] != table.Hello[:15] || err != nil {
				return fmt.Errorf("the client got %q, %v", got, err)
			}
			if n := <-took; n != rig.SlowSize {
				return fmt.Errorf("the origin took %d bytes of %d", n, rig.SlowSize)
			}
			return nil
		}
		_, _ = io.WriteString(c, table.Get)
		head := rig.ReadHead(br)
		if n := client.Take(br, chunked); n != rig.SlowSize {
			return fmt.Errorf("the client took %d bytes of %d after %q: %+v", n, rig.SlowSize, head, opt.Handler.(*rig.Handler).Records())
		}
		return nil
	}
}

// trickle: a client that takes a piece now and then is not given up, also over TLS, where a driver holds more than the client takes in the
// time for one piece.
func trickle(t *testing.T, mk rig.Maker) {
	for slower := time.Duration(1); ; slower *= 4 {
		p := rig.NewPace(120*time.Millisecond, slower)
		n, err := trickleAt(t, mk, p)
		if err == nil {
			return
		}
		if !p.Late.Load() || slower == 16 {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

// trickleAt returns how many bytes of an answer have come.
func trickleAt(t *testing.T, mk rig.Maker, p *rig.Pace) (int, error) {
	const size = 90_000
	cert, pool := rig.Certificate(t)
	body := bytes.Repeat([]byte("x"), size)
	o := rig.NewOrigin(t, rig.Always(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, body)))
	opt := rig.Options(rig.With(o))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rig.Shrink(t, ln, 4<<10)
	opt.Listeners = []exchange.Listener{{Listener: ln, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}}}
	opt.Timeouts.Write = p.Limit
	addr, _ := rig.Start(t, mk, opt)
	raw, err := (&net.Dialer{Control: rig.Narrow}).Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	c := tls.Client(&sips{raw, &rig.Slow{Pace: p, Pauses: true}}, &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13})
	_, _ = io.WriteString(c, table.Get)
	br := bufio.NewReader(c)
	rig.ReadHead(br)
	n, err := io.ReadFull(br, body)
	if err != nil {
		err = fmt.Errorf("%w, of %d, %+v", err, size, opt.Handler.(*rig.Handler).Records())
	}
	return n, err
}

// sips takes 1 KiB at a time: 8 KiB a second or fewer.
type sips struct {
	net.Conn
	*rig.Slow
}

func (s *sips) Read(b []byte) (int, error) {
	s.Piece()
	defer s.Look()
	return s.Conn.Read(b[:min(len(b), 1<<10)])
}
