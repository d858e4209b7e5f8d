package loop

import (
	"net/netip"
	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/loop/socket"
	"portico/proxy/wire"
	"syscall"

	"portico/internal/linked"
	"portico/proxy/http2"
)

// waitMost is how many requests wait for one connection that is being made. More than that are not expected to find room on it.
const waitMost = 100

// line is a connection to an upstream that speaks HTTP/2: requests of many clients share it, each has a stream. What they send gathers in
// the connection's output, which is written once in a turn.
type line struct {
	x       http2.Conn
	u       *sock // nil: it is closed, and may still hold what was read of its answers
	pool    *pool
	calls   linked.List[session] // those that have a stream
	waiting []*session           // those that get one when the origin has said that it speaks HTTP/2
	alone   bool                 // it is for one request and no other
	began   bool                 // it is made
	budget  int                  // what is left of it in this turn
	turn    uint32               // the turn that it is for
	listed  bool                 // among those that the turn looks at
	more    bool                 // the last read did not find the end of what has come
	told    bool                 // there may be more events
	full    bool                 // nothing more is read before the origin has taken something
	blocked bool                 // it takes nothing
	owed    exchange.Unacked
}

// dialLine makes a connection, for a session to wait for.
func (l *loop) dialLine(s *session, p *pool, addr netip.AddrPort) {
	u, why := l.newUpstream(p, addr)
	if u == nil {
		s.x.ConnectFailed(why)
		return
	}
	u.line = &line{u: u, pool: p, alone: s.x.Bound()}
	p.lines = append(p.lines, u.line)
	u.line.await(s)
}

// openLine begins to speak on a connection that was made.
func (l *loop) openLine(ln *line) {
	ln.began, ln.more = true, true
	ln.x.Dial(&l.srv.h2, &l.mem, ln.pool.up.IdleTime(), l.now)
	l.listLine(ln)
}

// lineEvent: something happened to a connection.
func (l *loop) lineEvent(u *sock, ev uint32) {
	ln := u.line
	if u.connecting {
		u.connecting = false
		if socket.Error(u.fd) != nil {
			l.closeLine(ln)
			return
		}
		if cfg := u.pool.up.TLS; cfg != nil {
			u.tls = newClientSide(u, cfg)
			l.shake(u)
			return
		}
		l.openLine(ln)
	}
	if !ln.began {
		return
	}
	l.refreshLine(ln)
	ln.more = ln.more || u.ready
	if ev&syscall.EPOLLOUT != 0 && u.tls == nil && ln.blocked {
		l.movedLine(ln)
	}
	l.readLine(ln)
	l.listLine(ln)
}

// shookLine: the TLS handshake of a connection is over.
func (l *loop) shookLine(ln *line, err error) {
	if err != nil {
		l.closeLine(ln)
		return
	}
	ln.u.ready = true
	l.openLine(ln)
}

func (l *loop) listLine(ln *line) {
	if !ln.listed && ln.u != nil {
		ln.listed = true
		l.lines = append(l.lines, ln)
	}
}

func (l *loop) refreshLine(ln *line) {
	if ln.turn != l.turns {
		ln.turn, ln.budget = l.turns, byteBudget
	}
	ln.x.Now(l.now)
}

func (l *loop) spendLine(ln *line, n int) {
	ln.budget -= n
	l.work += 2 * n
}

// turnLines looks at the connections that have something to do or to send, each once at most.
func (l *loop) turnLines() {
	l.stage(h2Share)
	n, i := len(l.lines), 0
	for i < n {
		ln := l.lines[i]
		i++
		ln.listed = false
		if ln.u != nil && ln.began {
			l.visitLine(ln)
			if l.late() {
				break
			}
		}
	}
	left := copy(l.lines, l.lines[i:])
	clear(l.lines[left:])
	l.lines = l.lines[:left]
}

func (l *loop) visitLine(ln *line) {
	l.refreshLine(ln)
	l.writeLine(ln)
	l.readLine(ln)
	if ln.u == nil {
		return
	}
	l.writeLine(ln)
	l.restLine(ln)
}

// readLine reads what has come and acts on it, as far as the budget goes.
func (l *loop) readLine(ln *line) {
	for l.eventsLine(ln) && ln.u != nil && ln.more && ln.budget > 0 && !l.late() {
		b := ln.x.Space()
		if ln.full = b == nil; ln.full {
			return
		}
		n, res := l.readSock(ln.u, b[:min(len(b), readMost)])
		ln.x.Read(n, res)
		ln.more = res == wire.More
		l.spendLine(ln, n+opWork)
	}
}

// eventsLine passes on what has happened to the streams; it reports whether that was all.
func (l *loop) eventsLine(ln *line) bool {
	ln.told = true
	for ln.budget > 0 {
		frames := ln.x.Frames()
		e := ln.x.Next()
		l.spendLine(ln, int(ln.x.Frames()-frames)*frameWork)
		if e.Kind == http2.EventNone {
			ln.told = false
			l.admitCalls(ln)
			return true
		}
		l.spendLine(ln, streamWork)
		l.tellCall(e)
		if l.late() {
			break
		}
	}
	return false
}

// writeLine sends what the streams have written.
func (l *loop) writeLine(ln *line) {
	u := ln.u
	if ln.blocked || u.tls != nil && u.tls.mem.owes() {
		return
	}
	out := ln.x.Pending()
	if len(out) == 0 {
		return
	}
	out = http2.Whole(out, writeMost)
	l.spendLine(ln, len(out)+streamWork)
	n, res := l.writeSock(u, out, nil)
	ln.blocked = res == wire.Blocked
	ln.x.Wrote(n, res)
	ln.full = false
	l.listLine(ln)
}

// movedLine: the socket has taken what it did not take before.
func (l *loop) movedLine(ln *line) {
	l.refreshLine(ln)
	ln.blocked, ln.full = false, false
	ln.x.Took()
	if ln.u.tls == nil || !ln.u.tls.mem.owes() {
		ln.x.Wrote(0, wire.More)
	}
	l.listLine(ln)
}

// restLine settles when a connection is looked at again.
func (l *loop) restLine(ln *line) {
	switch {
	case ln.budget <= 0, ln.more && !ln.full, ln.told:
		l.listLine(ln)
	case ln.x.Over() && (len(ln.x.Pending()) == 0 || ln.blocked):
		l.closeLine(ln)
		return
	}
	if at := ln.next(l.now); at != 0 {
		l.schedule(ln.u, at)
	}
}

// next is when a connection has something to do or is to be looked at: while output waits, the origin may take what the system holds.
func (ln *line) next(now int64) int64 {
	at := ln.x.Deadline()
	if at != 0 && ln.x.Waits() {
		return min(at, now+owedLook)
	}
	ln.owed.Forget()
	return at
}

// fireLine: the time of a connection may have come.
func (l *loop) fireLine(ln *line) {
	if !ln.began {
		return
	}
	l.refreshLine(ln)
	if ln.x.Waits() && ln.owed.Look(l.now, ln.u.held(), 0) {
		ln.x.Took()
	}
	if ln.x.Deadline() != 0 && ln.x.Deadline() <= l.now {
		ln.x.Timeout()
		l.listLine(ln)
		return
	}
	if at := ln.next(l.now); at != 0 {
		l.schedule(ln.u, at)
	}
}

// closeLine closes a connection, and tells those who use it or wait for it. Answers that have come whole are still read.
func (l *loop) closeLine(ln *line) {
	u := ln.u
	if u == nil {
		return
	}
	ln.u, u.line = nil, nil
	ln.pool.cross(ln)
	l.closeSocket(u)
	for _, s := range ln.waiting {
		s.call.waits = nil
		if s.x.Connecting() {
			s.x.Now(l.now)
			s.x.ConnectFailed(account.CauseConnect)
			l.goOn(s)
		}
	}
	ln.waiting = nil
	if !ln.began {
		return
	}
	ln.x.Read(0, wire.Failed)
	for e := ln.x.Next(); e.Kind != http2.EventNone; e = ln.x.Next() {
		l.tellCall(e)
	}
	if ln.x.Streams() == 0 {
		ln.x.Release()
	}
}

// cross takes a connection off the pool's list.
func (p *pool) cross(ln *line) {
	for i, o := range p.lines {
		if o == ln {
			p.lines = append(p.lines[:i], p.lines[i+1:]...)
			return
		}
	}
}

// leaveLines lets the requests that are on a pool's connections be their last, and closes those that have none.
func (l *loop) leaveLines(p *pool, idle bool) {
	for i := len(p.lines) - 1; i >= 0; i-- {
		if ln := p.lines[i]; ln.began && (!idle || ln.x.Streams() == 0) {
			ln.x.Leave()
			l.listLine(ln)
		}
	}
}

// cutLine ends every request on a connection whose upstream is not trusted any more, or is silent and need not be waited for.
func (l *loop) cutLine(ln *line) {
	killed := ln.pool.up.Killed()
	for s := ln.calls.First(); s != nil; {
		next := s.call.link.Next()
		if killed || !s.x.Stays() {
			s.x.Now(l.now)
			s.x.Revoke()
			l.goOn(s)
		}
		s = next
	}
	switch {
	case killed || ln.calls.First() == nil:
		l.closeLine(ln)
	case ln.began:
		ln.x.Leave()
		l.listLine(ln)
	}
}
