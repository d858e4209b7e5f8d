package loop

import (
	"syscall"

	"portico/proxy/exchange"
	"portico/proxy/loop/uring"
	"portico/proxy/wire"
)

const (
	batchSize  = 32       // sends that are handed over together
	batchLeast = 2        // for one socket alone, a plain read or write costs less
	batchMost  = 16 << 10 // bytes of a send that is worth gathering: for more, entering the kernel is nothing
)

// batch is the sends of several exchanges that wait to be handed to the kernel together. An exchange has one at most, and rests until it
// is done. All are done before the stage of the turn that gathered them ends, so that nothing else finds an exchange at rest.
type batch struct {
	ring  *uring.Ring // nil: nothing is gathered
	least int         // sockets for which the ring is used
	open  bool        // now is the time to gather
	n     int
	wait  [batchSize]sending
}

type sending struct {
	s    *session
	h    *h2Conn // in place of s: what its streams have written
	side exchange.Side
	done bool
	n    int32  // of the exchange's bytes
	out  []byte // these, or the records that TLS made of them
}

// gather puts a send into the batch; false: it has to be made at once.
func (l *loop) gather(s *session, to *sock, side exchange.Side, a, b []byte) bool {
	g := &l.batch
	if len(a) == 0 {
		a, b = b, nil
	}
	if !g.open || g.n == batchSize || to == nil || len(b) > 0 || len(a) > batchMost || to.kind == kindStream || to.kind == kindCall {
		return false
	}
	out := a
	if to.tls != nil {
		if out = to.tls.records(a, oneRecord); out == nil {
			return false
		}
	}
	g.wait[g.n] = sending{s: s, side: side, n: int32(len(a)), out: out}
	g.n++
	s.sending = true
	return true
}

// gathering begins a stage whose sends are gathered.
func (l *loop) gathering() { l.batch.open = l.batch.ring != nil }

// gathered ends it.
func (l *loop) gathered() {
	l.flush()
	l.batch.open = false
}

// flush makes the sends of the batch. What the exchanges send next, they send at once.
func (l *loop) flush() {
	g := &l.batch
	if g.n == 0 {
		return
	}
	g.open = false
	list := g.wait[:g.n]
	g.n = 0
	if len(list) < g.least {
		w := list[0]
		l.sendNow(&w)
		g.open = true
		return
	}
	for i := range list {
		g.ring.Queue(uring.Send, list[i].to().fd, list[i].out, uint64(i))
	}
	l.gatherings.Store(l.gatherings.Load() + uint64(len(list)))
	taken := g.ring.Submit(uint32(len(list)), l.sent)
	if !taken {
		for i := range list {
			if w := list[i]; !w.done {
				l.sendNow(&w)
			}
		}
		l.dropRing()
	}
	g.open = taken
}

// dropRing goes on without.
func (l *loop) dropRing() {
	l.batch.ring.Close()
	l.batch.ring, l.batch.open = nil, false
}

// sent takes the outcome of a send.
func (l *loop) sent(data uint64, res int32) {
	w := l.batch.wait[data]
	l.batch.wait[data].done = true
	n, r := 0, wire.More
	switch {
	case res < 0:
		r = w.to().failed(syscall.Errno(-res))
	default:
		if n = int(res); n < len(w.out) {
			r = wire.Blocked
		}
	}
	if t := w.to().tls; t != nil {
		t.mem.took(n, r)
		n = int(w.n) // ciphertext that the socket has not taken goes when it can
	}
	w.end(l, n, r)
}

// sendNow makes a send that the ring has not taken.
func (l *loop) sendNow(w *sending) {
	if t := w.to().tls; t != nil {
		res := t.mem.flush()
		w.to().reset = w.to().reset || res == wire.Failed
		w.end(l, int(w.n), res)
		return
	}
	a, b := w.s.x.Pending(w.side)
	n, res := l.writeSock(w.to(), a, b)
	w.end(l, n, res)
}

func (w *sending) to() *sock {
	switch {
	case w.h != nil:
		return w.h.c
	case w.side == exchange.Up:
		return w.s.u
	}
	return w.s.c
}

// end tells the exchange, and lets it go on.
func (w *sending) end(l *loop, n int, res wire.Result) {
	if w.h != nil {
		l.sentH2(w.h, n, res)
		return
	}
	s := w.s
	s.sending = false
	s.x.Now(l.now)
	s.x.Wrote(w.side, n, res)
	if l.late() {
		l.enqueue(s)
		return
	}
	l.drive(s)
}
