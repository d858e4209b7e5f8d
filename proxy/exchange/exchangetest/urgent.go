package exchangetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// urgent: a read ends before urgent data, however much is behind it. What is behind is read all the same, from either side.
func urgent(t *testing.T, mk New) {
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for n := 0; ; n++ {
			if readHead(br) == "" {
				return
			}
			time.Sleep(100 * time.Millisecond) // until all that the client says is there
			if n == 0 {
				_, _ = io.WriteString(c, hello)
				continue
			}
			_, _ = io.WriteString(c, hello[:20])
			sendUrgent(t, c)
			_, _ = io.WriteString(c, hello[20:])
		}
	})
	addr, _ := Start(t, mk, options(with(o)))
	c := Dial(t, addr)
	_, _ = io.WriteString(c, get)
	_, _ = io.WriteString(c, get[:10])
	sendUrgent(t, c)
	_, _ = io.WriteString(c, get[10:])
	Expect(t, c, hello+hello)
}

// urgentBody: the same within large bodies, which the kernel may move.
func urgentBody(t *testing.T, mk New) {
	const half = 512 << 10
	say := func(c net.Conn, start string) {
		_, _ = fmt.Fprintf(c, "%s\r\nContent-Length: %d\r\n\r\n%s", start, 2*half, strings.Repeat("a", half))
		sendUrgent(t, c)
		_, _ = io.WriteString(c, strings.Repeat("b", half))
	}
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for readHead(br) != "" {
			if _, err := io.CopyN(io.Discard, br, 2*half); err != nil {
				return
			}
			say(c, "HTTP/1.1 200 OK")
		}
	})
	addr, _ := Start(t, mk, options(with(o)))
	c := Dial(t, addr)
	for range 3 {
		go say(c, "POST / HTTP/1.1\r\nHost: a")
		Expect(t, c, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 2*half)+strings.Repeat("a", half)+strings.Repeat("b", half))
	}
}
