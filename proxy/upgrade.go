package proxy

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"portico/balancer"
)

// upgrade returns the protocol that a request may switch to, or "". Only
// WebSocket over HTTP/1.1 is passed on; any other Upgrade is dropped and the
// request stays HTTP.
func (x *exchange) upgrade() string {
	h := x.r.Header
	if x.ci.guard == nil || x.r.Method != http.MethodGet || !x.r.ProtoAtLeast(1, 1) || x.r.ContentLength != 0 {
		return ""
	}
	if !hasToken(h["Connection"], "upgrade") || len(h["Upgrade"]) != 1 || !strings.EqualFold(h.Get("Upgrade"), "websocket") {
		return ""
	}
	return "websocket"
}

// acceptKey is what RFC 6455 section 4.2.2 makes of a client's key.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // not for secrecy
	return base64.StdEncoding.EncodeToString(sum[:])
}

// switched reports whether a 101 is the answer to what was asked.
func switched(a *incoming, protocol, key string) bool {
	return strings.EqualFold(a.header.Get("Upgrade"), protocol) && hasToken(a.header["Connection"], "upgrade") &&
		a.header.Get("Sec-Websocket-Accept") == acceptKey(key)
}

// tunnel relays an upgraded connection until both sides have ended it, or
// nothing has moved for the tunnel timeout. The instance counts it as a running
// request meanwhile, so that a drain waits for it.
func (x *exchange) tunnel(a *incoming) error {
	defer a.finish()
	if !switched(a, x.out.upgrade, x.r.Header.Get("Sec-Websocket-Key")) {
		return &exchangeError{err: fmt.Errorf("%w: switched to something else than was asked", errBadResponse), sent: true, answered: true}
	}
	a.stop() // net/http ends the request's context with the hijack
	client, brw, err := x.rc.Hijack()
	if err != nil {
		return fmt.Errorf("take over connection: %w", err)
	}
	defer client.Close()
	x.wrote = true
	x.rec.Status = http.StatusSwitchingProtocols
	t := &tunnel{client: client, instance: a.conn.raw}
	if !x.s.tunnels.add(t) {
		x.done(balancer.Refused, nil, false)
		return nil
	}
	defer x.s.tunnels.remove(t)

	_ = client.SetDeadline(time.Time{})
	_ = a.conn.SetDeadline(time.Time{})
	// What the client sent behind its request is in net/http's buffer, or still
	// in the guard.
	early, _ := brw.Reader.Peek(brw.Reader.Buffered())
	early = append(append([]byte(nil), early...), x.ci.guard.takeRaw()...)
	_ = client.SetWriteDeadline(time.Now().Add(x.s.o.Conf.Timeouts.Body.Std()))
	if _, err := client.Write(x.switchHead(a)); err != nil {
		x.done(balancer.ClientAborted, errClientGone, false)
		return nil
	}
	defer x.keep()()
	up, down := relay(client, a.conn, early, x.s.o.Conf.Timeouts.Tunnel.Std())
	x.bytes = down
	x.sized += up
	x.done(balancer.Answered, nil, false)
	return nil
}

// keep notes every minute that the session is in use: visitors on a stream send no
// cookie that could tell. The function that it returns ends that.
func (x *exchange) keep() (stop func()) {
	t := time.NewTicker(time.Minute)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case now := <-t.C:
				x.site.siteState.pool.Keep(&x.choice, now.UnixMilli())
			case <-end:
				return
			}
		}
	}()
	return func() {
		t.Stop()
		close(end)
		<-ended
	}
}

// switchHead is the 101 for the client.
func (x *exchange) switchHead(a *incoming) []byte {
	h := a.header
	removeHopByHop(h)
	x.affinity(h)
	b := []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + x.out.upgrade + "\r\n")
	for name, values := range h {
		if name == "Content-Length" {
			continue
		}
		for _, v := range values {
			b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}

// relay copies both ways. An end of one direction is passed on as such; the
// other may go on. idle counts only while neither direction moves.
func relay(client net.Conn, instance *originConn, early []byte, idle time.Duration) (up, down int64) {
	var moved atomic.Int64
	moved.Store(time.Now().UnixNano())
	done := make(chan int64, 1)
	go func() {
		n, err := pour(instance, early, client, idle, &moved)
		end(instance, err)
		done <- n
	}()
	buffered := instance.in
	instance.in = nil
	down, err := pour(client, buffered, instance.Conn, idle, &moved)
	end(client, err)
	return <-done, down
}

// pour copies first and then what src has to dst, until the end of src or an error.
func pour(dst net.Conn, first []byte, src net.Conn, idle time.Duration, moved *atomic.Int64) (n int64, err error) {
	bp := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(bp)
	in := io.MultiReader(bytes.NewReader(first), src)
	for {
		since := time.Since(time.Unix(0, moved.Load()))
		_ = src.SetReadDeadline(time.Now().Add(idle - since))
		k, rerr := in.Read(*bp)
		if k > 0 {
			now := time.Now()
			moved.Store(now.UnixNano())
			_ = dst.SetWriteDeadline(now.Add(idle))
			if _, err := dst.Write((*bp)[:k]); err != nil {
				return n, err
			}
			n += int64(k)
		}
		switch {
		case errors.Is(rerr, io.EOF):
			return n, nil
		case rerr != nil && isTimeout(rerr) && time.Since(time.Unix(0, moved.Load())) < idle:
			// The other direction has moved meanwhile.
		case rerr != nil:
			return n, rerr
		}
	}
}

// end closes our direction of a connection after its source has ended in order,
// and the whole of it otherwise.
func end(c net.Conn, err error) {
	if w, ok := c.(interface{ CloseWrite() error }); ok && err == nil {
		if w.CloseWrite() == nil {
			return
		}
	}
	if o, ok := c.(*originConn); ok {
		c = o.raw
	}
	_ = c.Close()
}
