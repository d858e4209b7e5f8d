package exchangetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

// urgent: a read ends before urgent data, however much is behind it. What is behind is read all the same, from either side.
func urgent(t *testing.T, mk rig.Maker) {
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for n := 0; ; n++ {
			if rig.ReadHead(br) == "" {
				return
			}
			time.Sleep(100 * time.Millisecond) // until all that the client says is there
			if n == 0 {
				_, _ = io.WriteString(c, table.Hello)
				continue
			}
			_, _ = io.WriteString(c, table.Hello[:20])
			rig.SendUrgent(t, c)
			_, _ = io.WriteString(c, table.Hello[20:])
		}
	})
	addr, _ := rig.Start(t, mk, rig.Options(rig.With(o)))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, table.Get)
	_, _ = io.WriteString(c, table.Get[:10])
	rig.SendUrgent(t, c)
	_, _ = io.WriteString(c, table.Get[10:])
	rig.Expect(t, c, table.Hello+table.Hello)
}

// urgentBody: the same within large bodies, which the kernel may move.
func urgentBody(t *testing.T, mk rig.Maker) {
	const half = 512 << 10
	say := func(c net.Conn, start string) {
		_, _ = fmt.Fprintf(c, "%s\r\nContent-Length: %d\r\n\r\n%s", start, 2*half, strings.Repeat("a", half))
		rig.SendUrgent(t, c)
		_, _ = io.WriteString(c, strings.Repeat("b", half))
	}
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for rig.ReadHead(br) != "" {
			if _, err := io.CopyN(io.Discard, br, 2*half); err != nil {
				return
			}
			say(c, "HTTP/1.1 200 OK")
		}
	})
	addr, _ := rig.Start(t, mk, rig.Options(rig.With(o)))
	c := rig.Dial(t, addr)
	for range 3 {
		go say(c, "POST / HTTP/1.1\r\nHost: a")
		rig.Expect(t, c, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 2*half)+strings.Repeat("a", half)+strings.Repeat("b", half))
	}
}
