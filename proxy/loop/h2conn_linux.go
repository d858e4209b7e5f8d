package loop

import (
	"syscall"
	"time"

	"portico/internal/linked"
	"portico/proxy/exchange"
	"portico/proxy/http2"
	"portico/proxy/wire"
)

const (
	streamWork  = 1 << 10  // what an operation costs of the budget that does not enter the kernel
	streamShare = 72 << 10 // of its connection's budget, before other streams have their turn: what is read at a time is written at once
	frameWork   = 256      // what a frame costs of the budget besides its bytes
	readMost    = 16 << 10 // bytes that are read at a time: how many frames they hold is known when all were looked at
	lingerMost  = 256 << 10
)

// h2Conn is what a client's connection has that speaks HTTP/2. Each of its streams has a session. All share one budget; what they send
// gathers in the connection's output, which is written once in a turn.
type h2Conn struct {
	x         http2.Conn
	c         *sock                // nil: it is closed
	streams   linked.List[session] // who had a turn goes to the end
	queued    int                  // of these, who go on in the next turn
	budget    int                  // what is left of it in this turn
	turn      uint32               // the turn that it is for
	listed    bool                 // among those that the turn looks at
	sending   bool                 // rests until its send, which is in the loop's batch, is done
	more      bool                 // the last read did not find the end of what has come
	skipped   bool                 // its last visit had only the time to write
	told      bool                 // there may be more events
	full      bool                 // nothing more is read before the client has taken something
	lost      bool                 // the client is gone, or takes nothing
	blocked   bool                 // a stream waits for its client to take bytes
	lingering bool                 // everything was said: what still comes is read and dropped
	lingered  int
	owed      exchange.Unacked // to the client
}

// beginH2 makes a connection one that speaks HTTP/2.
func (l *loop) beginH2(c *sock) {
	h := &h2Conn{c: c}
	h.x.Begin(&l.srv.h2, &l.mem, l.now)
	c.h2, c.deadline = h, 0
	l.h2conns.Add(1)
	l.listH2(h)
}

// listH2 lets the turn look at a connection.
func (l *loop) listH2(h *h2Conn) {
	if !h.listed && h.c != nil {
		h.listed = true
		l.h2s = append(l.h2s, h)
	}
}

// refresh gives a connection its budget for a new turn, and the time.
func (l *loop) refresh(h *h2Conn) {
	if h.turn != l.turns {
		h.turn, h.budget = l.turns, byteBudget
	}
	h.x.Now(l.now)
}

// spend takes off the budget what was done for a connection. A hundred sessions do not stay in the processor's caches, so the turn looks
// at the clock more often than where one is served for long.
func (l *loop) spend(h *h2Conn, n int) {
	h.budget -= n
	l.work += 2 * n
}

// h2Event: something happened to a connection's socket. What its streams send meanwhile leaves later in the turn.
func (l *loop) h2Event(h *h2Conn, ev uint32) {
	if h.lingering {
		l.linger(h)
		return
	}
	l.refresh(h)
	h.more = h.more || h.c.ready
	if ev&syscall.EPOLLERR != 0 {
		h.x.Read(0, wire.Failed)
		h.more, h.lost = false, true
	}
	l.readH2(h)
	l.listH2(h)
}

// readH2 reads what has come and acts on it, as far as the budget goes.
func (l *loop) readH2(h *h2Conn) {
	for l.eventsH2(h) && h.more && h.budget > 0 && !l.late() {
		b := h.x.Space()
		if h.full = b == nil; h.full {
			return
		}
		n, res := l.readSock(h.c, b[:min(len(b), readMost)])
		h.x.Read(n, res)
		h.more = res == wire.More
		h.lost = h.lost || res == wire.EOF || res == wire.Failed
		l.spend(h, n+opWork)
	}
}

// eventsH2 passes on what has happened to the streams; it reports whether that was all.
func (l *loop) eventsH2(h *h2Conn) bool {
	h.told = true
	for h.budget > 0 {
		frames := h.x.Frames()
		e := h.x.Next()
		l.spend(h, int(h.x.Frames()-frames)*frameWork)
		if e.Kind == http2.EventNone {
			h.told = false
			return true
		}
		l.spend(h, streamWork)
		s, _ := e.Stream.User.(*session)
		switch {
		case e.Kind == http2.EventOpen:
			s = l.beginStream(h, e.Stream)
		case s == nil:
			continue
		}
		s.x.Now(l.now)
		switch e.Kind {
		case http2.EventReadable:
			s.x.Allow(exchange.ReadClient)
		case http2.EventWritable:
			s.x.Allow(exchange.WriteClient)
		case http2.EventReset:
			s.x.ClientGone()
		case http2.EventOpen, http2.EventNone:
		}
		if !s.queued && !s.sending {
			l.drive(s)
		}
		if l.late() {
			break
		}
	}
	return false
}

// turnH2 looks at the connections that have something to do or to send, each once at most.
func (l *loop) turnH2() {
	l.stage(h2Share)
	n, i := len(l.h2s), 0
	for i < n {
		h := l.h2s[i]
		i++
		h.listed = false
		if h.c != nil {
			l.visit(h)
			if l.late() {
				break
			}
		}
	}
	left := copy(l.h2s, l.h2s[i:])
	clear(l.h2s[left:])
	l.h2s = l.h2s[:left]
}

// visit lets one connection go on. What its streams have written in this turn leaves first.
func (l *loop) visit(h *h2Conn) {
	if h.lingering || h.sending {
		return
	}
	l.refresh(h)
	l.writeH2(h)
	if h.skipped = !h.skipped && l.late(); h.skipped {
		l.listH2(h)
		return
	}
	l.queueH2(h)
	l.readH2(h)
	if !h.sending {
		l.writeH2(h)
	}
	l.restH2(h)
}

// queueH2 goes on with the streams that used up their share.
func (l *loop) queueH2(h *h2Conn) {
	last := h.streams.Last()
	for s := h.streams.First(); s != nil && h.queued > 0 && h.budget > 0; {
		next := s.stream.link.Next()
		if s == last {
			next = nil
		}
		if l.late() {
			return
		}
		if s.queued && !s.sending {
			s.queued = false
			h.queued--
			h.toEnd(s)
			s.x.Now(l.now)
			l.drive(s)
		}
		s = next
	}
}

// writeH2 sends what the streams have written, or puts it into the batch.
func (l *loop) writeH2(h *h2Conn) {
	if h.c.tls.mem.owes() {
		return
	}
	out := h.x.Pending()
	if len(out) == 0 {
		return
	}
	out = http2.Whole(out, writeMost)
	l.spend(h, len(out)+streamWork)
	if l.gatherH2(h, out) {
		return
	}
	n, res := l.writeSock(h.c, out, nil)
	l.wroteH2(h, n, res)
	l.listH2(h)
}

// gatherH2 is gather for the output of a connection.
func (l *loop) gatherH2(h *h2Conn, out []byte) bool {
	g := &l.batch
	if g.n == batchSize {
		l.flush()
	}
	if !g.open {
		return false
	}
	records := h.c.tls.records(out, batchMost)
	if records == nil {
		return false
	}
	g.wait[g.n] = sending{h: h, n: int32(len(out)), out: records}
	g.n++
	h.sending = true
	return true
}

// sentH2: a send of the batch is done.
func (l *loop) sentH2(h *h2Conn, n int, res wire.Result) {
	h.sending = false
	l.refresh(h)
	l.wroteH2(h, n, res)
	l.eventsH2(h)
	l.listH2(h)
}

// wroteH2 tells what became of output.
func (l *loop) wroteH2(h *h2Conn, n int, res wire.Result) {
	h.x.Wrote(n, res)
	h.full, h.lost = false, h.lost || res == wire.Failed
	if n > 0 {
		h.moved(l.now)
	}
}

// movedH2: the socket has taken what it did not take before.
func (l *loop) movedH2(h *h2Conn) {
	if !h.lingering {
		l.refresh(h)
		h.x.Took()
		if !h.c.tls.mem.owes() {
			h.x.Wrote(0, wire.More)
		}
		h.full = false
		h.moved(l.now)
		l.listH2(h)
	}
}

// restH2 settles when a connection is looked at again.
func (l *loop) restH2(h *h2Conn) {
	switch {
	case h.sending: // sentH2 goes on
		return
	case h.budget <= 0, h.queued > 0, h.more && !h.full, h.told:
		l.listH2(h)
	case h.x.Over() && len(h.x.Pending()) == 0:
		l.closeH2(h)
		return
	}
	if h.streams.First() == nil {
		l.slack(h.c)
	}
	if at := l.nextH2(h); at != 0 {
		l.schedule(h.c, at)
	}
}

// nextH2 is when a connection has something to do or is to be looked at: while output waits, a client may take what the system holds.
func (l *loop) nextH2(h *h2Conn) int64 {
	at := h.x.Deadline()
	if at != 0 && h.x.Waits() {
		return min(at, l.now+owedLook)
	}
	h.owed.Forget()
	return at
}

// fireH2: the time of a connection may have come.
func (l *loop) fireH2(h *h2Conn) {
	if h.lingering {
		if h.c.deadline <= l.now {
			l.closeClient(h.c)
		} else {
			l.schedule(h.c, h.c.deadline)
		}
		return
	}
	if h.streams.First() == nil {
		trimTLS(h.c)
	}
	l.refresh(h)
	if h.x.Waits() && h.owed.Look(l.now, h.c.held(), l.srv.opt.Timeouts.MinRate) {
		h.x.Took()
		h.moved(l.now)
	}
	if at := l.nextH2(h); at != 0 && h.x.Deadline() <= l.now {
		h.x.Timeout()
		h.lost = h.x.Over() && len(h.x.Pending()) == 0 // else there is a last word
		l.listH2(h)
	} else if at != 0 {
		l.schedule(h.c, at)
	}
}

// drainH2 lets a connection's streams be its last.
func (l *loop) drainH2(h *h2Conn) {
	h.x.Now(l.now)
	h.x.Drain()
	l.listH2(h)
}

// closeH2 closes a connection that is over. What its client still sends is read for a little, so that a reset does not destroy what was
// said last.
func (l *loop) closeH2(h *h2Conn) {
	for s := h.streams.First(); s != nil; s = s.stream.link.Next() {
		if s.sending { // not while the batch holds what it sends
			l.listH2(h)
			return
		}
	}
	c := h.c
	switch {
	case h.lost && c.hup:
		l.closeClient(c)
		return
	case h.lost:
		l.resetClient(c)
		return
	}
	l.endStreams(h)
	h.x.Release()
	h.lingering = true
	l.shut(c)
	c.deadline = l.now + int64(max(l.srv.opt.Timeouts.Linger, time.Millisecond))
	l.schedule(c, c.deadline)
	l.linger(h)
}

// linger reads what comes behind the last word.
func (l *loop) linger(h *h2Conn) {
	c := h.c
	for c.ready {
		n, res := l.readPlain(c, l.cipher)
		l.work += n + opWork
		h.lingered += n
		if res == wire.EOF || res == wire.Failed || h.lingered > lingerMost {
			l.closeClient(c)
			return
		}
	}
}

// abandonH2 cuts a connection because the loop stops.
func (l *loop) abandonH2(h *h2Conn) {
	l.refresh(h)
	for s := h.streams.First(); s != nil; s = h.streams.First() {
		s.x.Now(l.now)
		s.x.Abandon()
		l.perform(s, byteBudget, 1, streamWork)
	}
	h.x.Drain()
	for range byteBudget / pieceSize {
		l.writeH2(h)
	}
	l.closeClient(h.c)
}

// endH2 takes from a connection that closes what it has for HTTP/2.
func (l *loop) endH2(h *h2Conn) {
	l.endStreams(h)
	if h.x.Denied() {
		l.denied.Add(1)
	}
	if !h.lingering {
		h.x.Release()
	}
	h.c.h2, h.c = nil, nil
}

// endStreams ends what is left of a connection's streams when their client is gone.
func (l *loop) endStreams(h *h2Conn) {
	for s := h.streams.First(); s != nil; s = h.streams.First() {
		s.x.Now(l.now)
		s.x.ClientGone()
		l.perform(s, byteBudget, 1, streamWork)
	}
}
