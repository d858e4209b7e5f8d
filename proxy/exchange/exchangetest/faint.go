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

// faintSides: a side is not given up while it takes what the system holds for it, however little, whatever moves the bytes.
func faintSides(t *testing.T, mk rig.Maker) {
	list := make([]int, 16)
	for i := range list {
		list[i] = i
	}
	for slower := time.Duration(1); len(list) > 0; slower *= 4 {
		list = faintSidesAt(t, mk, slower, list)
	}
}

// faintSidesAt tries those of list at a pace, and returns those that have to be tried again, see slowSides.
func faintSidesAt(t *testing.T, mk rig.Maker, slower time.Duration, list []int) (again []int) {
	cert, pool := rig.Certificate(t)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, i := range list {
		upload, chunked, secure, size := i&1 != 0, i&2 != 0, i&4 != 0, rig.FaintSize
		if i&8 != 0 {
			size = rig.FaintTail
		}
		p := rig.NewPace(rig.FaintPause, slower)
		run := faintSide(t, mk, cert, pool, p, upload, chunked, secure, size)
		wg.Go(func() {
			err := run()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
			case p.Late.Load() && slower < 16:
				again = append(again, i)
			default:
				t.Errorf("upload %v, chunked %v, TLS %v, %d bytes: %v", upload, chunked, secure, size, err)
			}
		})
	}
	wg.Wait()
	return again
}

// faintSide returns what moves one message to a faint side.
func faintSide(t *testing.T, mk rig.Maker, cert tls.Certificate, pool *x509.CertPool, p *rig.Pace, upload, chunked, secure bool, size int) func() error {
	server := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	visitor := &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13}
	message := fmt.Appendf(nil, "Content-Length: %d\r\n\r\n", size)
	if chunked {
		message = fmt.Appendf(nil, "Transfer-Encoding: chunked\r\n\r\n%x\r\n", size)
	}
	message = append(message, bytes.Repeat([]byte("x"), size)...)
	if chunked {
		message = append(message, "\r\n0\r\n\r\n"...)
	}
	took := make(chan int, 1)
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		if upload {
			c = &rig.Faintly{TCPConn: c.(*net.TCPConn), Slow: &rig.Slow{Pace: p, Pauses: true}}
		}
		if secure {
			c = tls.Server(c, server)
		}
		br := bufio.NewReader(c)
		rig.ReadHead(br)
		if upload {
			took <- takeAll(br, chunked, size)
			_, _ = io.WriteString(c, table.Hello)
			return
		}
		if _, err := c.Write(append([]byte("HTTP/1.1 200 OK\r\n"), message...)); err == nil {
			_, _ = br.ReadByte() // until the proxy has done with it
		}
	})
	if upload {
		rig.Taper(t, o.Listener())
	}
	opt := rig.Options(rig.With(o))
	opt.Timeouts.Body, opt.Timeouts.Response, opt.Timeouts.Write = p.Limit, p.Limit, p.Limit
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opt.Listeners = []exchange.Listener{{Listener: ln}}
	if secure {
		opt.Listeners[0].TLS, opt.Handler.(*rig.Handler).Upstreams[0].TLS = server, visitor
	}
	addr, _ := rig.Start(t, mk, opt)
	dialer := net.Dialer{}
	if !upload {
		dialer.Control = rig.Narrow
	}
	c, err := dialer.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	if !upload {
		c = &rig.Faintly{TCPConn: c.(*net.TCPConn), Slow: &rig.Slow{Pace: p, Pauses: true}}
	}
	if secure {
		c = tls.Client(c, visitor)
	}
	return func() error {
		br := bufio.NewReader(c)
		if upload {
			_, err := c.Write(append([]byte("POST / HTTP/1.1\r\nHost: a\r\n"), message...))
			if got := rig.ReadHead(br); got[:min(len(got), 15)] != table.Hello[:15] || err != nil {
				return fmt.Errorf("the client got %q, %v; %+v", got, err, opt.Handler.(*rig.Handler).Records())
			}
			if n := <-took; n != size {
				return fmt.Errorf("the origin took %d bytes", n)
			}
			return nil
		}
		_, _ = io.WriteString(c, table.Get)
		head := rig.ReadHead(br)
		if n := takeAll(br, chunked, size); n != size {
			return fmt.Errorf("the client took %d bytes after %q: %+v", n, head, opt.Handler.(*rig.Handler).Records())
		}
		return nil
	}
}

// takeAll reads the body of a message in one chunk, or as it is, and counts its bytes.
func takeAll(br *bufio.Reader, chunked bool, size int) int {
	if chunked {
		_, _ = br.ReadString('\n')
	}
	n, _ := io.CopyN(io.Discard, br, int64(size))
	return int(n)
}
