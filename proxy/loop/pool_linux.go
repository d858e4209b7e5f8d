package loop

import (
	"net/netip"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/loop/socket"
)

// pool holds one loop's idle connections to one upstream, the most recently used first.
type pool struct {
	l       *loop
	up      *exchange.Upstream
	addr    netip.AddrPort // invalid: a name
	first   *sock
	last    *sock
	idle    int
	owned   int // connections that wait with their clients
	maxIdle int
	lines   []*line // connections that carry many requests
	users   int     // connections, idle ones included, and look-ups: the pool is the only way to find them
}

func (l *loop) pool(up *exchange.Upstream) *pool {
	p := l.pools[up]
	if p == nil {
		p = &pool{l: l, up: up, maxIdle: up.MaxIdle}
		if p.maxIdle == 0 {
			p.maxIdle = 64
		}
		p.addr, _ = netip.ParseAddrPort(up.Addr)
		l.pools[up] = p
	}
	return p
}

// get takes a connection out that has nothing to say. What has come on an idle one, bytes or an end, is an answer to nobody: the client
// that is about to use it would take it for its own.
func (p *pool) get() *sock {
	for {
		u := p.first
		if u == nil {
			return nil
		}
		if !u.hup && u.deadline > p.l.now && socket.Quiet(u.fd) {
			u.ready = false
			p.unlink(u)
			return u
		}
		p.l.closeUpstream(u)
	}
}

// put takes a connection back, for so long; it must have nothing left to say.
func (p *pool) put(u *sock, keep time.Duration) {
	if u.hup || u.slot != 0 || p.up.Retired() || p.up.SendProxy != 0 || p.l.draining || p.maxIdle < 0 || !p.l.silent(u) {
		p.l.closeUpstream(u)
		return
	}
	if p.idle >= p.maxIdle {
		p.l.closeUpstream(p.last)
	}
	u.deadline = p.l.now + int64(keep)
	u.idleNext = p.first
	if p.first != nil {
		p.first.idlePrev = u
	} else {
		p.last = u
	}
	p.first = u
	p.idle++
}

// silent reports whether nothing has come behind the answer that was read. Mostly that is known: the last read took less than it had room
// for, and no event has come since.
func (l *loop) silent(u *sock) bool {
	if u.tls != nil {
		return l.silentTLS(u)
	}
	if u.ready && socket.Quiet(u.fd) {
		u.ready = false // edge-triggered: what comes now makes a new event
	}
	return !u.ready
}

func (p *pool) has(u *sock) bool { return u.idlePrev != nil || p.first == u }

func (p *pool) unlink(u *sock) {
	if u.idlePrev != nil {
		u.idlePrev.idleNext = u.idleNext
	} else {
		p.first = u.idleNext
	}
	if u.idleNext != nil {
		u.idleNext.idlePrev = u.idlePrev
	} else {
		p.last = u.idlePrev
	}
	u.idlePrev, u.idleNext = nil, nil
	p.idle--
}

// age closes connections that were idle for too long, whose upstream is retired or whose descriptors are needed, and drops pools
// that nothing uses. It reports whether it had the time to see all.
func (l *loop) age() bool {
	for up, p := range l.pools {
		if (up.Killed() || up.Left()) && !l.cut(p) {
			return false
		}
		for p.last != nil && (p.last.deadline <= l.now || up.Retired() || l.shedding) {
			if l.late() {
				return false
			}
			l.work += closeWork
			l.closeUpstream(p.last)
		}
		if len(p.lines) > 0 && (up.Retired() || l.shedding) {
			l.leaveLines(p, !up.Retired())
		}
		if up.Retired() && p.owned > 0 && !l.closeOwned(p) {
			return false
		}
		if p.users == 0 {
			delete(l.pools, up)
		}
	}
	l.shedding = false
	return true
}

// cut breaks every connection of a pool whose upstream is no longer trusted, and those that nobody has to wait for of one that is
// silent; it reports whether it had the time to see all.
func (l *loop) cut(p *pool) bool {
	for _, u := range l.socks {
		if u == nil || u.kind != kindUpstream || u.pool != p {
			continue
		}
		if l.late() {
			return false
		}
		l.work += closeWork
		if u.line != nil {
			l.cutLine(u.line)
			continue
		}
		s := u.s
		if s == nil {
			l.closeUpstream(u)
			continue
		}
		if !p.up.Killed() && s.x.Stays() {
			continue
		}
		s.x.Now(l.now)
		s.x.Revoke()
		l.dropHalf(s)
		if !s.queued {
			l.drive(s)
		}
	}
	return true
}
