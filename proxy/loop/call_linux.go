package loop

import (
	"net/netip"
	"portico/internal/linked"
	"portico/proxy/exchange"
	"portico/proxy/http2"
	"portico/proxy/wire"
)

// call is what a session has in addition whose upstream is a stream. It stays with the session.
type call struct {
	x     *http2.Stream
	sock  sock // stands for the upstream: without a descriptor
	link  linked.Link[session]
	waits *line // whose origin has not said yet that it speaks HTTP/2
}

// connectCall finds a session a stream: on a connection that has room, else on one that is being made, else on a new one.
func (l *loop) connectCall(s *session, p *pool, addr netip.AddrPort) {
	if !s.x.Bound() {
		for _, ln := range p.lines {
			if !ln.alone && !s.x.Fresh() && ln.x.Room() > 0 && l.call(s, ln, true) {
				return
			}
		}
		for _, ln := range p.lines {
			if !ln.alone && !(ln.began && ln.x.Greeted()) && len(ln.waiting) < waitMost {
				ln.await(s)
				return
			}
		}
	}
	if !addr.IsValid() {
		l.ask(s, p)
		return
	}
	l.dialLine(s, p, addr)
}

// await lets a session wait for a connection.
func (ln *line) await(s *session) {
	if s.call == nil {
		s.call = new(call)
	}
	s.call.waits = ln
	ln.waiting = append(ln.waiting, s)
}

// unwait takes a session from those that wait. A connection that nobody waits for any more is not made.
func (l *loop) unwait(s *session) {
	if s.call == nil || s.call.waits == nil {
		return
	}
	ln := s.call.waits
	s.call.waits = nil
	for i, o := range ln.waiting {
		if o == s {
			ln.waiting = append(ln.waiting[:i], ln.waiting[i+1:]...)
			break
		}
	}
	if len(ln.waiting) == 0 {
		l.closeLine(ln)
	}
}

// admitCalls gives those that wait for a connection their streams. Who finds no room looks elsewhere; one that is over before it took
// anybody is one that could not be made.
func (l *loop) admitCalls(ln *line) {
	if len(ln.waiting) == 0 || !ln.x.Greeted() || ln.x.Over() {
		return
	}
	list := ln.waiting
	ln.waiting = nil
	for _, s := range list {
		s.call.waits = nil
		if !s.x.Connecting() {
			continue
		}
		s.x.Now(l.now)
		if !l.call(s, ln, false) {
			l.connectCall(s, ln.pool, ln.pool.addr)
		}
		l.goOn(s)
	}
}

// call gives a session a stream of a connection; false: there is no room.
func (l *loop) call(s *session, ln *line, reused bool) bool {
	if s.x.Upgrades() && !ln.x.Tunnels() {
		s.x.NoTunnel()
		return true
	}
	ln.x.Now(l.now)
	st := ln.x.Open()
	if st == nil {
		return false
	}
	if s.call == nil {
		s.call = new(call)
	}
	c := s.call
	c.x, st.User = st, s
	c.sock = sock{fd: -1, kind: kindCall, line: ln, pool: ln.pool, s: s}
	s.u = &c.sock
	ln.calls.PushBack(&c.link, s)
	s.x.Connected(reused, 0)
	return true
}

// tellCall passes on what has happened to a stream.
func (l *loop) tellCall(e http2.Event) {
	s, _ := e.Stream.User.(*session)
	if s == nil {
		return
	}
	s.x.Now(l.now)
	switch e.Kind {
	case http2.EventReadable:
		s.x.Allow(exchange.ReadUpstream)
	case http2.EventWritable:
		s.x.Allow(exchange.WriteUpstream)
	case http2.EventReset:
		s.x.Allow(exchange.ReadUpstream | exchange.WriteUpstream)
	case http2.EventOpen, http2.EventNone:
	}
	l.goOn(s)
}

// goOn lets a session do what it can, unless it will soon.
func (l *loop) goOn(s *session) {
	if !s.queued && !s.sending {
		l.drive(s)
	}
}

// endCall ends a session's stream.
func (l *loop) endCall(s *session) {
	c, ln := s.call, s.u.line
	s.u = nil
	ln.calls.Remove(&c.link)
	c.x.User = nil
	if ln.u != nil {
		ln.x.Now(l.now)
	}
	c.x.Finish()
	c.x = nil
	if ln.alone && ln.u != nil {
		ln.x.Leave()
	}
	l.listLine(ln)
	if ln.u == nil && ln.x.Streams() == 0 {
		ln.x.Release()
	}
}

func (l *loop) readCall(s *session, b []byte) (int, wire.Result) {
	st := s.call.x
	n, res := st.Read(b)
	switch {
	case res == wire.EOF:
		if section := st.Trailers(); section != nil {
			s.x.AnswerTrailers(section)
		}
	case res == wire.Failed && st.Refused():
		s.x.Unread()
	case res == wire.Failed && st.Malformed():
		s.x.Garbled()
	case res == wire.Failed:
		if why, ok := st.WasReset(); ok {
			s.x.GivenUp(why)
		}
	}
	if n > 0 { // there may be room to give back
		l.listLine(s.u.line)
	}
	return n, res
}

func (l *loop) writeCall(s *session, a, b []byte) (int, wire.Result) {
	st := s.call.x
	l.listLine(s.u.line)
	if section := s.x.TrailersUp(); section != nil {
		st.End(section)
		return 0, wire.More
	}
	n, res := st.Write(a, b, s.x.Ends(exchange.Up))
	return n, res
}
