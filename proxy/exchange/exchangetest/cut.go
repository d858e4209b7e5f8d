package exchangetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

// cutEarly: the end of an answer without a length counts only if it was in order. The system tells of a reset once, and it may tell
// the sender of the request's body; the answer is cut all the same.
func cutEarly(t *testing.T, mk rig.Maker) {
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		rig.ReadHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\npartial")
		time.Sleep(100 * time.Millisecond) // until the body fills everything
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	addr, _ := rig.Start(t, mk, rig.Options(rig.With(o)))
	for range 3 {
		c := rig.Dial(t, addr)
		go func() {
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
			for {
				if _, err := io.WriteString(c, "10000\r\n"+strings.Repeat("x", 65536)+"\r\n"); err != nil {
					return
				}
			}
		}()
		b, err := io.ReadAll(c)
		if strings.HasSuffix(string(b), "\r\n0\r\n\r\n") {
			t.Errorf("an answer that was reset looks complete: %q (%v)", b, err)
		}
		_ = c.Close()
	}
}

// cutBehindWhole: a client that asks ahead and reads slowly gets its first answer whole, and what came of the second, which
// shows that it was cut.
func cutBehindWhole(t *testing.T, mk rig.Maker) {
	const size = 8 << 20 // more than the client's socket holds
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if strings.HasPrefix(rig.ReadHead(br), "GET /b ") {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
			return
		}
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
		_, _ = io.CopyN(c, zeros{}, size)
	})
	addr, _ := rig.Start(t, mk, rig.Options(rig.With(o)))
	for range 3 {
		c := rig.Dial(t, addr)
		_, _ = io.WriteString(c, table.Get+getB)
		br := bufio.NewReaderSize(&slowly{c}, 64<<10)
		a, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, a.Body); n != size || err != nil {
			t.Fatalf("%d bytes of the first answer came: %v", n, err)
		}
		b, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(b.Body); string(text) != "hello" || err == nil {
			t.Errorf("of the second answer came %q: %v", text, err)
		}
		_ = c.Close()
	}
}

// slowly takes its time for each read.
type slowly struct{ net.Conn }

func (s *slowly) Read(b []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return s.Conn.Read(b)
}
