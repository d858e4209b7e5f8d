package isolation

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// origin is one application server of one site.
type origin struct {
	w    *World
	site *Site
	ln   net.Listener

	mu    sync.Mutex
	open  map[*wire]bool
	ended bool
	wg    sync.WaitGroup
}

func (w *World) newOrigin(site *Site) *origin {
	var how net.ListenConfig
	if site.small {
		how.Control = small
	}
	ln, err := how.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	o := &origin{w: w, site: site, ln: ln, open: map[*wire]bool{}}
	o.wg.Go(o.accept)
	return o
}

func (o *origin) close() {
	_ = o.ln.Close()
	o.mu.Lock()
	o.ended = true
	for c := range o.open {
		_ = c.raw.Close()
	}
	o.mu.Unlock()
	o.wg.Wait()
}

func (o *origin) accept() {
	for {
		raw, err := o.ln.Accept()
		if err != nil {
			return
		}
		c := newWire(raw)
		if o.site.Secure {
			c.Conn = tls.Server(raw, o.w.server)
		}
		o.mu.Lock()
		o.open[c] = true
		ended := o.ended
		o.mu.Unlock()
		if ended {
			_ = raw.Close()
		}
		o.wg.Go(func() {
			o.serve(c)
			_ = c.raw.Close()
			o.mu.Lock()
			delete(o.open, c)
			o.mu.Unlock()
		})
	}
}

// serve answers what comes on a connection until one side ends it.
func (o *origin) serve(c *wire) {
	r := bufio.NewReaderSize(c, 64<<10)
	for {
		c.impatient = false // the proxy keeps it
		if _, err := r.Peek(1); err != nil {
			return
		}
		c.impatient = true
		h, err := readHead(r)
		if err == nil && strings.HasPrefix(h.first, "GET /up ") {
			_ = c.send([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), pace{pauseAt: -1})
			return
		}
		x, err := o.accepts(h, err)
		if err != nil {
			o.complain(nil, "head", err)
			return
		}
		if c.dirty != nil {
			o.dirty(c, x)
			return
		}
		t := o.w.attempt(x)
		if err := o.exchange(c, r, x, h, t); err != nil {
			o.complain(x, "exchange", err)
			return
		}
	}
}

// dirty: a request came where something had been sent that nobody asked for. Unless that was on its way just then, the proxy knew.
func (o *origin) dirty(c *wire, x *exchange) {
	if !c.since.IsZero() && (time.Since(c.since) < time.Second || o.w.pause.since(c.since)) {
		o.w.count("surplus met a request on its way")
		return
	}
	o.w.fault(x, "at an origin of %s: the request came on a connection that held surplus bytes, since %s", o.site.Name, c.dirty.describe(&client{}))
}

// complain tells what must not happen. Everything else that ends a connection is the other side's right.
func (o *origin) complain(x *exchange, where string, err error) {
	var f *foreign
	if errors.As(err, &f) || errors.Is(err, errHang) && !o.over() {
		o.w.fault(x, "at an origin of %s, %s: %v", o.site.Name, where, err)
	}
}

func (o *origin) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended
}

// requestFields are what the proxy and a client's library add.
var requestFields = set(`host content-length transfer-encoding expect connection upgrade sec-websocket-version sec-websocket-key te trailer
	accept-encoding user-agent x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port`)

// accepts finds the exchange that a head belongs to, and that it is at the right address.
func (o *origin) accepts(h *head, err error) (*exchange, error) {
	if err != nil {
		// The proxy writes whole heads, but may be torn away within one: what has come must look like one all the same.
		if h.raw != "" && !isMethod(h.raw) {
			return nil, foreignf("no request: %.300q (%s)", h.raw, claim([]byte(h.raw)))
		}
		return nil, err
	}
	m, ok := named(h.fields["x-mark"])
	x := o.w.find(m)
	if !ok || x == nil || m != x.request {
		return nil, foreignf("no request of anybody: %.300q (%s)", h.raw, claim([]byte(h.raw)))
	}
	if want := x.method + " /" + x.request.String() + " HTTP/1.1"; h.first != want {
		return x, foreignf("%q, not %q", h.first, want)
	}
	if x.site != o.site || h.fields["host"] != x.site.Host {
		return x, foreignf("the %s to %s came to %s with host %q", x.request.owner(), x.site.Name, o.site.Name, h.fields["host"])
	}
	return x, h.marked(x.request, requestFields)
}

func isMethod(s string) bool {
	for _, m := range [...]string{"GET /", "HEAD /", "POST /", "PUT /"} {
		if strings.HasPrefix(s, m[:min(len(m), len(s))]) {
			return true
		}
	}
	return false
}

var (
	errDone   = errors.New("connection ended as drawn")
	errParted = errors.New("connection left to the other side")
)

// exchange serves one request as drawn. An error ends the connection.
func (o *origin) exchange(c *wire, r *bufio.Reader, x *exchange, h *head, t *try) error {
	most := x.size
	if x.upgrade {
		most = 0
	}
	in := h.body(r, x.request, most)
	if t.slow >= 0 {
		c.slow, c.rest = c.got+t.slow, t.rest
	}
	if h.fields["expect"] != "" && !t.mute && t.after != 0 {
		if err := c.send([]byte("HTTP/1.1 100 Continue\r\n\r\n"), pace{pauseAt: -1}); err != nil {
			return err
		}
	}
	if err := in.take(t.after); err != nil {
		return err
	}
	rest := make(chan error, 1)
	switch {
	case t.after < 0:
		rest <- o.wholeRequest(x, in)
	case t.deaf:
		rest <- nil
	default:
		go func() { rest <- in.take(-1) }()
	}
	err := o.answer(c, x, t)
	if err != nil && !errors.Is(err, errParted) {
		c.end(fin) // whatever still reads stops
	}
	if rerr := <-rest; err == nil || errors.Is(err, errParted) && rerr != nil {
		err = rerr
	}
	if errors.Is(err, errParted) {
		if t.deaf {
			time.Sleep(x.stall())
			return err
		}
		_, err = io.Copy(io.Discard, r) // somebody must give up an origin that says nothing
		return err
	}
	if err == nil && x.status == 101 && x.upgrade {
		return o.tunnel(c, r, x, t)
	}
	return err
}

// wholeRequest: a body that ends in order is the client's whole body.
func (o *origin) wholeRequest(x *exchange, in *body) error {
	if !x.upgrade && in.off != x.size {
		return foreignf("the %s looks whole with %d of %d bytes", x.request.owner(), in.off, x.size)
	}
	return nil
}

// answer writes what was drawn.
func (o *origin) answer(c *wire, x *exchange, t *try) error {
	b, end := x.message(t)
	if t.bad {
		b = append([]byte("HTTP/9 "), x.surplus.text(300)...)
		end = len(b)
	}
	if t.cut >= 0 && t.cut < int64(end) {
		if err := c.send(b[:t.cut], t.pace); err != nil {
			return err
		}
		return o.part(c, t.how)
	}
	if t.behind == together || t.behind == garbage {
		// The last byte and what is behind it are one segment and one record: who has the one could know of the other.
		if err := c.send(b[:end-1], t.pace); err != nil {
			return err
		}
		b, t.pace = b[end-1:], pace{pauseAt: -1}
		c.dirty, c.since = x, time.Time{}
	}
	if err := c.send(b, t.pace); err != nil {
		return err
	}
	if t.behind == later {
		time.Sleep(time.Duration(x.pieceSeed%5) * time.Millisecond)
		c.dirty, c.since = x, time.Now()
		if err := c.send(x.appendSurplus(nil, t), pace{pauseAt: -1}); err != nil {
			return err
		}
		c.since = time.Now() // a busy machine may have let it wait before it was sent
	}
	if t.then == goOn || x.status == 101 {
		return nil
	}
	return o.part(c, t.then)
}

// part ends the connection.
func (o *origin) part(c *wire, how ending) error {
	c.end(how)
	if how == half || how == silent {
		return errParted
	}
	return errDone
}

// tunnel sends its own bytes and takes the client's, at the same time.
func (o *origin) tunnel(c *wire, r *bufio.Reader, x *exchange, t *try) error {
	taken := make(chan error, 1)
	go func() {
		in := &body{r: r, kind: byClose, owner: x.request, most: x.size}
		taken <- in.take(-1)
	}()
	out := appendBody(nil, x.answer, byLength, x.asize, false, nil)
	var err error
	if t.cut >= 0 && t.cut < x.asize {
		if err = c.send(out[:t.cut], t.pace); err == nil && t.how != silent {
			c.end(t.how)
		}
	} else if err = c.send(out, t.pace); err == nil {
		c.finish()
	}
	if rerr := <-taken; rerr != nil || err != nil {
		return errors.Join(rerr, err)
	}
	return errDone
}
