package exchangetest

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

// revoke is what happens when an instance is retired, and its member is revoked when nobody has thought of the instance for a while: at
// least two rounds of what looks after connections once a second.
func revoke(u *exchange.Upstream) {
	u.Retire()
	time.Sleep(2200 * time.Millisecond)
	u.Kill()
}

// untilEnd closes what it returns when c ends, however.
func untilEnd(c io.Reader) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, c)
	}()
	return ended
}

// revokedAnswer: an answer that flows is cut, and the cut shows.
func revokedAnswer(t *testing.T, mk rig.Maker) {
	ended := make(chan struct{})
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		defer close(ended)
		rig.ReadHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		for {
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	h := rig.With(o)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, table.Get)
	rig.Expect(t, c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nx")
	client := untilEnd(c)
	revoke(h.Upstreams[0])
	rig.Gone(t, "the origin's answer", ended)
	rig.Gone(t, "the client's connection", client)
	rig.Eventually(t, "the loss is recorded", func() bool { r := h.Records(); return len(r) == 1 && r[0].Cause == account.CauseUpstream })
}

// revokedUpload: a request on its way is not sent to its end, and its client is told.
func revokedUpload(t *testing.T, mk rig.Maker) {
	ended := make(chan struct{})
	o := rig.NewRawOrigin(t, func(_ int, _ net.Conn, br *bufio.Reader) {
		defer close(ended)
		_, _ = io.Copy(io.Discard, br)
	})
	h := rig.With(o)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
	go func() {
		for {
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	revoke(h.Upstreams[0])
	rig.Gone(t, "the upload", ended)
	b := make([]byte, 12)
	if _, err := io.ReadFull(c, b); string(b) != "HTTP/1.1 502" {
		t.Errorf("got %q, %v", b, err)
	}
}

// revokedTunnel: a tunnel is cut when nothing moves in it, and when its origin has ended its side and the client goes on sending.
func revokedTunnel(t *testing.T, mk rig.Maker) {
	for _, half := range []bool{false, true} {
		ended := make(chan struct{})
		o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
			defer close(ended)
			rig.ReadHead(br)
			_, _ = io.WriteString(c, rig.Switched)
			if half {
				_ = c.(*net.TCPConn).CloseWrite()
			}
			_, _ = io.Copy(io.Discard, br)
		})
		h := rig.With(o)
		addr, _ := rig.Start(t, mk, rig.Options(h))
		c := rig.Dial(t, addr)
		_, _ = io.WriteString(c, rig.Upgrade)
		rig.Expect(t, c, rig.Switched)
		if half {
			go func() {
				for {
					if _, err := io.WriteString(c, "x"); err != nil {
						return
					}
					time.Sleep(5 * time.Millisecond)
				}
			}()
		}
		revoke(h.Upstreams[0])
		rig.Gone(t, "the tunnel", ended)
		rig.Gone(t, "the client's connection", untilEnd(c))
	}
}

// revokedConnect: an upstream that is revoked while a connection to it is made gets no request.
func revokedConnect(t *testing.T, mk rig.Maker) {
	o, u, greeted, shake := slowTLS(t)
	other := rig.NewOrigin(t, rig.Always(table.Hello))
	h := &rig.Handler{Upstreams: []*exchange.Upstream{u, {Addr: other.Addr()}}}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, rig.Post+"\r\nhello")
	<-greeted
	u.Kill()
	time.Sleep(1500 * time.Millisecond)
	shake()
	rig.Expect(t, c, table.Hello)
	_, _ = io.WriteString(c, table.Get)
	rig.Expect(t, c, table.Hello)
	if n := o.Accepted(); n != 1 {
		t.Errorf("%d connections to the revoked one", n)
	}
	if got := strings.Join(other.Requests(), ""); !strings.Contains(got, "\r\n\r\nhello") {
		t.Errorf("the other one got %q", got)
	}
}
