package conn

import (
	"context"
	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/wire"
	"time"
)

// call is what a session has in addition whose upstream is a stream. It stays with the session, for one stream after the other.
type call struct {
	lane lane
	up   upstream // stands for a connection that only this request has
}

// connectCall finds a stream for the request: on a connection that has room, else on one that is being made, else on a new one.
func (s *session) connectCall(up *exchange.Upstream) {
	p := &s.c.srv.pools
	patience := s.x.ConnectTime()
	if patience < 0 {
		patience = time.Minute
	}
	fresh, alone := s.x.Fresh(), s.x.Bound()
	ln, made := p.lineFor(up, fresh, alone, patience)
	for made {
		if s.takeLine(ln, true) {
			return
		}
		ln, made = p.lineFor(up, fresh, alone, patience) // others were faster
	}
	ctx, cancel := context.WithTimeout(s.callContext(), patience)
	defer cancel()
	if l := s.c.io.lane; l != nil {
		defer l.dialed()
	}
	for !s.awaitLine(ctx, ln) {
		for {
			if ln, made = p.lineFor(up, fresh, alone, patience); !made {
				break
			}
			if s.takeLine(ln, true) {
				return
			}
		}
	}
}

// awaitLine waits for a connection that is being made, and takes a stream of it; false: others were faster.
func (s *session) awaitLine(ctx context.Context, ln *line) bool {
	select {
	case <-ln.made:
	case <-ctx.Done():
	}
	s.c.srv.pools.waited(ln)
	s.now()
	switch {
	case s.left():
		s.x.ClientGone()
	case s.c.srv.ctx.Err() != nil:
		s.x.Abandon()
	case ctx.Err() != nil:
		s.x.ConnectFailed(account.CauseConnectTime)
	case ln.failed != account.CauseNone:
		s.x.ConnectFailed(ln.failed)
	case ln.up.Killed(): // meanwhile
		s.x.ConnectFailed(account.CauseConnect)
	default:
		return s.takeLine(ln, false)
	}
	return true
}

// callContext ends with the client, where that can be seen, or with the driver.
func (s *session) callContext() context.Context {
	if l := s.c.io.lane; l != nil {
		return l.dialing()
	}
	return s.c.srv.ctx
}

// takeLine takes a stream of a connection; false: there is no room.
func (s *session) takeLine(ln *line, reused bool) bool {
	ln.lock()
	if s.x.Upgrades() && ln.h2.Greeted() && !ln.h2.Tunnels() {
		ln.unlock()
		s.x.NoTunnel()
		return true
	}
	st := ln.h2.Open()
	if st == nil {
		ln.unlock()
		return false
	}
	if s.call == nil {
		s.call = new(call)
	}
	c := s.call
	c.lane.begin(&ln.mux, st, nothing)
	st.User = &c.lane
	ln.count++
	ln.unlock()
	c.up = upstream{srv: s.c.srv, up: ln.up, line: ln, stays: s.x.Stays()}
	c.up.io.lane, c.up.io.start = &c.lane, s.c.srv.start
	s.hold(&c.up)
	s.x.Connected(reused, 0)
	return true
}

func nothing() {}

// lineFor returns a connection that has room, or one that is being made, for one who waits.
func (p *pools) lineFor(up *exchange.Upstream, fresh, alone bool, timeout time.Duration) (ln *line, made bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !alone {
		for _, ln := range p.lines[up] {
			switch {
			case ln.alone:
			case ln.isMade():
				if !fresh && ln.room() {
					return ln, true
				}
			case ln.waiting < waitMost:
				ln.waiting++
				return ln, false
			}
		}
	}
	ln = p.newLine(up, alone, timeout)
	ln.waiting++
	return ln, false
}

func (ln *line) room() bool {
	ln.lock()
	defer ln.mu.Unlock()
	return ln.h2.Room() > 0
}

func (p *pools) waited(ln *line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ln.waiting--
}

func (ln *line) isMade() bool {
	select {
	case <-ln.made:
		return true
	default:
		return false
	}
}

// hang ends a stream.
func (u *upstream) hang() {
	ln, l := u.line, u.io.lane
	ln.lock()
	defer ln.mu.Unlock()
	l.st.User = nil
	l.st.Finish()
	l.st = nil
	l.broken() // the other direction may be under way
	ln.count--
	if ln.alone {
		ln.h2.Leave()
	}
	ln.settle()
	if !ln.over {
		ln.flush()
	}
	ln.turn.Broadcast()
}

// heardEnd tells the exchange what else the end of a stream says.
func (s *session) heardEnd(res wire.Result) {
	u := s.u
	if u == nil || u.line == nil {
		return
	}
	switch st := u.io.lane.st; {
	case res == wire.EOF && st.Trailers() != nil:
		s.x.AnswerTrailers(st.Trailers())
	case res == wire.Failed && st.Refused():
		s.x.Unread()
	case res == wire.Failed && st.Malformed():
		s.x.Garbled()
	case res == wire.Failed:
		if why, ok := st.WasReset(); ok {
			s.x.GivenUp(why)
		}
	}
}

// ending prepares a write to a stream: what its end is to be.
func (s *session) ending(k *sock) {
	if k.lane != nil && k == s.upIO() {
		k.ends, k.trailers = s.x.Ends(exchange.Up), s.x.TrailersUp()
	}
}

func (s *session) upIO() *sock {
	if s.u == nil {
		return nil
	}
	return &s.u.io
}

// finish ends a request with its trailers.
func (l *lane) finish(section []byte) {
	l.m.lock()
	defer l.m.unlock()
	if l.st != nil {
		l.st.End(section)
		l.m.flush()
	}
}

// expire wakes who uses the connection, whichever side he waits for.
func (u *upstream) expire() {
	if l := u.io.lane; l != nil {
		l.m.lock()
		defer l.m.mu.Unlock()
		if l.st != nil {
			l.poke()
		}
		return
	}
	_ = u.conn.SetDeadline(time.Unix(1, 0))
}
