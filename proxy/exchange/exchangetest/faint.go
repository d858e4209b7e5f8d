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
)

// How a faint side is slow: in the time after which a side that does nothing is given up it takes less than the system waits for before it
// says that there is room again. After three such times it takes what is left at once.
const (
	faintPiece = 1 << 10
	faintPause = 120 * time.Millisecond // 8 KiB a second
	faintSize  = 5 << 20                // more than the system holds
	faintTail  = 256 << 10              // less, so that a sender has done with it long before it is taken
)

// faintly reads faintly from its first read on.
type faintly struct {
	*net.TCPConn
	*slow
	until time.Time
}

// Read implements net.Conn.
func (f *faintly) Read(b []byte) (int, error) {
	now := time.Now()
	switch {
	case f.until.IsZero():
		f.until = now.Add(3 * f.limit)
	case now.After(f.until):
		_ = f.SetReadBuffer(1 << 20)
		return f.TCPConn.Read(b)
	}
	f.piece()
	return f.TCPConn.Read(b[:min(len(b), faintPiece)])
}

// faintSides: a side is not given up while it takes what the system holds for it, however little, whatever moves the bytes.
func faintSides(t *testing.T, mk New) {
	list := make([]int, 16)
	for i := range list {
		list[i] = i
	}
	for slower := time.Duration(1); len(list) > 0; slower *= 4 {
		list = faintSidesAt(t, mk, slower, list)
	}
}

// faintSidesAt tries those of list at a pace, and returns those that have to be tried again, see slowSides.
func faintSidesAt(t *testing.T, mk New, slower time.Duration, list []int) (again []int) {
	cert, pool := Certificate(t)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, i := range list {
		upload, chunked, secure, size := i&1 != 0, i&2 != 0, i&4 != 0, faintSize
		if i&8 != 0 {
			size = faintTail
		}
		p := newPace(faintPause, slower)
		run := faintSide(t, mk, cert, pool, p, upload, chunked, secure, size)
		wg.Go(func() {
			err := run()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
			case p.late.Load() && slower < 16:
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
func faintSide(t *testing.T, mk New, cert tls.Certificate, pool *x509.CertPool, p *pace, upload, chunked, secure bool, size int) func() error {
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
	o := rawOrigin(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		if upload {
			c = &faintly{TCPConn: c.(*net.TCPConn), slow: &slow{pace: p, pauses: true}}
		}
		if secure {
			c = tls.Server(c, server)
		}
		br := bufio.NewReader(c)
		readHead(br)
		if upload {
			took <- takeAll(br, chunked, size)
			_, _ = io.WriteString(c, hello)
			return
		}
		if _, err := c.Write(append([]byte("HTTP/1.1 200 OK\r\n"), message...)); err == nil {
			_, _ = br.ReadByte() // until the proxy has done with it
		}
	})
	if upload {
		taper(t, o.ln)
	}
	opt := options(with(o))
	opt.Timeouts.Body, opt.Timeouts.Response, opt.Timeouts.Write = p.limit, p.limit, p.limit
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opt.Listeners = []exchange.Listener{{Listener: ln}}
	if secure {
		opt.Listeners[0].TLS, opt.Handler.(*Handler).Upstreams[0].TLS = server, visitor
	}
	addr, _ := Start(t, mk, opt)
	dialer := net.Dialer{}
	if !upload {
		dialer.Control = narrow
	}
	c, err := dialer.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	if !upload {
		c = &faintly{TCPConn: c.(*net.TCPConn), slow: &slow{pace: p, pauses: true}}
	}
	if secure {
		c = tls.Client(c, visitor)
	}
	return func() error {
		br := bufio.NewReader(c)
		if upload {
			_, err := c.Write(append([]byte("POST / HTTP/1.1\r\nHost: a\r\n"), message...))
			if got := readHead(br); got[:min(len(got), 15)] != hello[:15] || err != nil {
				return fmt.Errorf("the client got %q, %v; %+v", got, err, opt.Handler.(*Handler).Records())
			}
			if n := <-took; n != size {
				return fmt.Errorf("the origin took %d bytes", n)
			}
			return nil
		}
		_, _ = io.WriteString(c, get)
		head := readHead(br)
		if n := takeAll(br, chunked, size); n != size {
			return fmt.Errorf("the client took %d bytes after %q: %+v", n, head, opt.Handler.(*Handler).Records())
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
