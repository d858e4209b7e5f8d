package loop

import (
	"portico/proxy/exchange"
	"portico/proxy/loop/socket"
)

// An upstream connection that carries an identity waits with its client, not in the pool: in a list that begins at own and goes on with
// idleNext, the one that has waited longest first. See package http1.

// own keeps a session's upstream connection for its client alone.
func (l *loop) own(s *session) {
	u, c := s.u, s.c
	s.u, u.s = nil, nil
	u.owner = c
	u.pool.owned++
	last, n := &c.own, 1
	for *last != nil {
		last = &(*last).idleNext
		n++
	}
	*last = u
	if n > exchange.MaxOwn {
		first := c.own
		l.disown(first)
		l.closeUpstream(first)
	}
	if u.owner != nil && (u.hup || u.slot != 0 || u.pool.up.Retired() || l.draining || !l.silent(u)) {
		l.closeUpstream(u)
	}
}

// reclaim gives a session the connection of its client's own.
func (l *loop) reclaim(s *session, p *pool) {
	for u := s.c.own; u != nil; u = u.idleNext {
		if u.pool != p {
			continue
		}
		l.disown(u)
		if u.hup || !socket.Quiet(u.fd) { // an end, or an answer to nobody
			l.closeUpstream(u)
			break
		}
		u.ready = false
		s.u, u.s = u, s
		s.x.Connected(true, l.splices(s))
		return
	}
	s.x.Lost()
}

// disown takes a connection off its client's list.
func (l *loop) disown(u *sock) {
	at := &u.owner.own
	for *at != u {
		at = &(*at).idleNext
	}
	*at, u.idleNext, u.owner = u.idleNext, nil, nil
	u.pool.owned--
}

// ended: a connection that waits with its client is closed. So is the client's, after its present answer.
func (l *loop) ended(u *sock) {
	c := u.owner
	l.disown(u)
	if c.s != nil {
		c.s.x.Ended(u.pool.up)
		return
	}
	l.closeClient(c)
}

// closeOwn closes what belongs to a client whose connection ends.
func (l *loop) closeOwn(c *sock) {
	for c.own != nil {
		u := c.own
		l.disown(u)
		l.closeUpstream(u)
	}
}

// closeOwned closes the waiting connections to an upstream that is retired; it reports whether it had the time to see all.
func (l *loop) closeOwned(p *pool) bool {
	for _, u := range l.socks {
		if u == nil || u.owner == nil || u.pool != p {
			continue
		}
		if l.late() {
			return false
		}
		l.work += closeWork
		l.closeUpstream(u)
	}
	return true
}
