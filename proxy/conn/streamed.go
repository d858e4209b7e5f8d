package conn

import (
	"portico/internal/linked"
	"portico/proxy/exchange"
	"portico/proxy/http2"
	"portico/proxy/wire"
)

// streamed is the session of a stream: one request, with a goroutine of its own.
type streamed struct {
	session
	own     client // stands for the client that only this stream has
	lane    lane
	serveFn func()                // serve, made once
	link    linked.Link[streamed] // of the connection; guarded by mux.mu
}

// open begins to serve a request.
func (m *mux) open(st *http2.Stream) {
	srv := m.c.srv
	s, ok := srv.streams.Get().(*streamed)
	if !ok {
		s = new(streamed)
		s.prepare()
		s.serveFn = s.serve
	}
	st.User = s
	s.lane.begin(m, st, s.wakeFn)
	from, c := m.c, &s.own
	c.srv, c.base, c.conn, c.index, c.addr, c.local, c.name, c.served = srv, from.base, from.conn, from.index, from.addr, from.local, from.name, m.answered
	c.io.lane, c.io.conn, c.io.start = &s.lane, from.conn, srv.start
	s.begin(c)
	from.local = c.local
	s.x.Stream(&s.lane, st.Open())
	if st.Malformed() { // asked here, where the connection is held: later frames can make an error of a stream, too
		s.x.Malformed()
	}
	for rest := st.Request(); len(rest) > 0; {
		n := copy(s.x.Space(exchange.Client), rest)
		if n == 0 {
			break // too long, which it sees
		}
		s.x.Read(exchange.Client, n, wire.More)
		rest = rest[n:]
	}
	m.served.PushBack(&s.link, s)
	m.count++
	go s.serveFn()
}

// serve runs the exchange and ends the stream as it did.
func (s *streamed) serve() {
	op := s.run()
	m, st, srv := s.lane.m, s.lane.st, s.c.srv
	why, closes, answered := s.x.Reset(), s.x.Closes(), op == exchange.OpClose
	s.release()
	m.lock()
	m.served.Remove(&s.link)
	s.lane.m, s.lane.st = nil, nil
	srv.streams.Put(s)
	if answered {
		st.Close()
	} else {
		st.Reset(why)
	}
	m.answered = m.answered || answered
	if closes {
		m.h2.Drain()
	}
	m.settle()
	m.flush()
	m.count--
	m.turn.Broadcast()
	m.unlock()
}

// pick reads as much of the request's body as is there, which mostly is all of a short one, and reports whether there was any. A long one
// takes a goroutine for each direction: an answer may come before its end.
func (s *session) pick(l *lane) bool {
	if l.picks == 0 || s.x.Reads()&exchange.ReadClient == 0 {
		return false
	}
	l.picks--
	l.m.lock()
	n, res := l.take(s.x.Space(exchange.Client))
	l.m.unlock()
	if n == 0 && res == wire.Blocked {
		return false
	}
	s.now()
	s.body(n, res)
	return true
}

// forks reports whether both directions are to move at once from here on, or may have to.
func (s *session) forks() bool {
	if l := s.c.io.lane; l != nil && l.picks > 0 {
		return s.x.Reads()&exchange.ReadClient != 0
	}
	return s.x.Streaming()
}

// wrote tells the exchange what the client has taken.
func (s *session) wrote(n int, res wire.Result) {
	s.x.Wrote(exchange.Client, n, res)
	if l := s.c.io.lane; l != nil && l.held {
		s.x.Held()
	}
}

// body tells the exchange what came of the client, and of a stream's trailers before its end.
func (s *session) body(n int, res wire.Result) {
	if l := s.c.io.lane; l != nil && res == wire.EOF {
		if t := l.st.Trailers(); t != nil {
			s.x.Trailers(t)
		}
	}
	s.x.Read(exchange.Client, n, res)
}
