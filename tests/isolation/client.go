package isolation

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// visit is one connection of an HTTP/1 client.
type visit struct {
	w        *World
	c        *client
	wire     *wire
	r        *bufio.Reader
	began    time.Time
	todo     []*exchange
	heard    []*signals // by exchange
	stop     chan struct{}
	sender   sync.WaitGroup
	unclean  bool // something was drawn that ends the connection
	upgraded chan bool
}

// signals are what the reader tells the sender.
type signals struct {
	goOn, over         chan struct{}
	goOnOnce, overOnce sync.Once
}

func (s *signals) proceed() { s.goOnOnce.Do(func() { close(s.goOn) }) }

func (s *signals) done() { s.proceed(); s.overOnce.Do(func() { close(s.over) }) }

// run makes all of a client's exchanges, on as many connections as it takes.
func (c *client) run(w *World, f Front) {
	time.Sleep(c.wait)
	if c.over == two {
		c.runTwo(w, f)
		return
	}
	for rest := c.exchanges; len(rest) > 0; {
		v, err := w.dial(c, f)
		if err != nil {
			w.fault(rest[0], "cannot connect: %v", err)
			return
		}
		n, again := v.run(rest)
		if !again {
			return
		}
		rest = rest[n:]
	}
}

func (w *World) dial(c *client, f Front) (*visit, error) {
	addr := f.Plain
	if c.over == secure {
		addr = f.Secure
	}
	began := time.Now() // a busy machine may let a handshake wait, too
	d := net.Dialer{Timeout: patience}
	if c.small {
		d.Control = small
	}
	raw, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	v := &visit{w: w, c: c, wire: newWire(raw), began: began, stop: make(chan struct{}), upgraded: make(chan bool, 1)}
	if c.over == secure {
		cfg := w.client.Clone()
		cfg.ServerName, cfg.NextProtos = "kind.test", []string{"http/1.1"}
		t := tls.Client(raw, cfg)
		_ = t.SetDeadline(time.Now().Add(patience))
		if err := t.Handshake(); err != nil {
			_ = raw.Close()
			return nil, err
		}
		_ = t.SetDeadline(time.Time{})
		v.wire.Conn = t
	}
	v.wire.impatient = true
	v.r = bufio.NewReaderSize(v.wire, 64<<10)
	return v, nil
}

// run does as many exchanges as the connection lasts for. It returns how many, and whether the client goes on with the others.
func (v *visit) run(todo []*exchange) (n int, again bool) {
	v.todo = todo
	for range todo {
		v.heard = append(v.heard, &signals{goOn: make(chan struct{}), over: make(chan struct{})})
	}
	for _, x := range todo {
		v.unclean = v.unclean || v.c.pipelined && x.sends.cut >= 0
	}
	v.sender.Go(v.send)
	for n < len(todo) && !again {
		x := todo[n]
		v.behave(x)
		a, err := v.answer(x)
		next := time.Now()
		v.heard[n].done()
		v.judge(x, n, a, err)
		if !v.c.pipelined { // else the proxy has had the next one all the time
			v.began = next
		}
		n++
		if err != nil || x.sends.cut >= 0 {
			break
		}
		again = a.last || !a.sent()
	}
	close(v.stop)
	for _, s := range v.heard {
		s.done()
	}
	_ = v.wire.raw.Close()
	v.sender.Wait()
	return n, again
}

// behave takes on what was drawn for taking an answer.
func (v *visit) behave(x *exchange) {
	if x.takes.slow >= 0 {
		v.wire.slow, v.wire.rest = v.wire.got+x.takes.slow, x.takes.rest
	}
	if x.takes.leave >= 0 {
		v.unclean = true
		v.wire.leave, v.wire.leaves = v.wire.got+x.takes.leave, x.takes.how
	}
	if x.sends.cut >= 0 {
		v.unclean = true
	}
}

// send sends all requests: one behind the other, or each behind the answer to the one before.
func (v *visit) send() {
	for i, x := range v.todo {
		if i > 0 && !v.c.pipelined {
			select {
			case <-v.heard[i-1].over:
			case <-v.stop:
			}
		}
		select {
		case <-v.stop:
			return
		default:
		}
		if !v.sendOne(x, v.heard[i]) {
			return
		}
	}
}

// sendOne sends one request as drawn; false: the connection takes no more.
func (v *visit) sendOne(x *exchange, s *signals) bool {
	head := x.head()
	if x.sends.inHead && x.sends.cut < int64(len(head)) {
		if v.wire.send(head[:x.sends.cut], x.sends.pace) == nil {
			v.wire.end(x.sends.how)
		}
		return false
	}
	var body []byte
	if x.framing != none {
		body = appendBody(nil, x.request, x.framing, x.size, x.trailer, newRand(x))
	}
	cut := x.sends.cut
	if cut >= 0 {
		body = body[:min(cut, int64(len(body)))]
	}
	if x.expect {
		if v.wire.send(head, x.sends.pace) != nil || !v.expect(x, s) {
			return false
		}
	} else {
		body = append(head, body...)
	}
	if v.wire.send(body, x.sends.pace) != nil {
		return false
	}
	switch {
	case x.upgrade:
		return v.sendTunnel(x)
	case cut >= 0:
		v.wire.end(x.sends.how)
		return false
	}
	return true
}

// expect waits for 100 Continue; false: there will be an answer without it.
func (v *visit) expect(x *exchange, s *signals) bool {
	var late <-chan time.Time
	if x.sends.after > 0 {
		t := time.NewTimer(x.sends.after)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-s.goOn:
	case <-late:
	}
	select {
	case <-s.over:
		return x.size == 0
	case <-v.stop:
		return false
	default:
		return true
	}
}

// sendTunnel sends through an upgraded connection.
func (v *visit) sendTunnel(x *exchange) bool {
	select {
	case ok := <-v.upgraded:
		if !ok {
			return true
		}
	case <-v.stop:
		return false
	}
	out := appendBody(nil, x.request, byLength, x.size, false, nil)
	if x.sends.cut >= 0 {
		if v.wire.send(out[:min(x.sends.cut, x.size)], x.sends.pace) == nil {
			v.wire.end(x.sends.how)
		}
		return false
	}
	if v.wire.send(out, x.sends.pace) == nil {
		v.wire.finish()
	}
	return false
}

// answered is what has come of an answer.
type answered struct {
	head   *head
	own    bool // the proxy's own page
	body   *body
	last   bool // the connection ends behind it
	early  bool // it came before the request was sent
	tunnel bool
}

// sent reports whether the connection can take another request.
func (a *answered) sent() bool { return !a.early }

// answer reads one answer, what comes before it included.
func (v *visit) answer(x *exchange) (*answered, error) {
	a := &answered{}
	for {
		h, err := readHead(v.r)
		a.head = h
		if err != nil {
			if errors.Is(err, io.EOF) && h.raw != "" {
				err = io.ErrUnexpectedEOF
			}
			return a, err
		}
		status, err := h.status(x.minor)
		if err != nil {
			return a, err
		}
		if status >= 200 || status == 101 {
			return a, v.final(x, a, status)
		}
		if err := x.interimFits(h, status); err != nil {
			return a, err
		}
		if status == 100 {
			v.heard[v.index(x)].proceed()
		}
	}
}

func (v *visit) index(x *exchange) int {
	for i, y := range v.todo {
		if x == y {
			return i
		}
	}
	return 0
}

// final reads the body behind a final head.
func (v *visit) final(x *exchange, a *answered, status int) error {
	a.own = a.head.fields["x-mark"] == ""
	if x.upgrade {
		select {
		case v.upgraded <- status == 101:
		default:
		}
	}
	if status == 101 {
		if a.own || x.status != 101 {
			return foreignf("nobody sent this 101: %.300q", a.head.raw)
		}
		a.tunnel = true
		a.body = &body{r: v.r, kind: byClose, owner: x.answer, most: x.asize}
		a.last = true
		if err := a.head.fits(x, status); err != nil {
			return err
		}
		return a.body.take(-1)
	}
	a.last = a.head.fields["connection"] == "close" || x.minor == 0
	if x.upgrade {
		a.last = true
	}
	if a.own {
		return v.page(x, a, status)
	}
	if err := a.head.fits(x, status); err != nil {
		return err
	}
	a.body = a.head.body(v.r, x.answer, x.asize)
	switch {
	case x.bodiless():
		a.body.whole = true
	case a.body.whole && x.minor == 0:
		a.body.kind, a.body.whole = byClose, false
	case a.body.whole:
		return foreignf("an answer without framing: %.300q", a.head.raw)
	}
	err := a.body.take(-1)
	if err == nil {
		err = x.whole(a.body)
	}
	return err
}
