package loop

import (
	"portico/internal/linked"
	"portico/proxy/exchange"
	"portico/proxy/http2"
	"portico/proxy/wire"
)

// h2Stream is what a session has in addition whose client is a stream. It stays with the session, also in the wheel, where a deadline of
// the stream before finds nothing to do.
type h2Stream struct {
	x    *http2.Stream
	sock sock // stands for the client: without a descriptor, with a place in the wheel
	link linked.Link[session]
}

// beginStream gives a stream a session.
func (l *loop) beginStream(h *h2Conn, st *http2.Stream) *session {
	s := l.spare()
	if s.stream == nil {
		s.stream = &h2Stream{sock: sock{fd: -1, kind: kindStream}}
	}
	s.stream.x, s.stream.sock.h2 = st, h
	st.User = s
	l.serve(s, h.c, &s.stream.sock)
	h.streams.PushBack(&s.stream.link, s)
	s.x.Stream(st, st.Open())
	if st.Malformed() {
		s.x.Malformed()
		return s
	}
	for text := st.Request(); len(text) > 0; {
		n := copy(s.x.Space(exchange.Client), text)
		if n == 0 {
			break // longer than any request may be
		}
		s.x.Read(exchange.Client, n, wire.More)
		text = text[n:]
	}
	return s
}

// driveStream is drive for a stream: within its connection's budget.
func (l *loop) driveStream(s *session) {
	h := s.c.h2
	l.refresh(h)
	l.listH2(h)
	share := min(h.budget, streamShare)
	if share <= 0 {
		l.enqueue(s)
		return
	}
	before := l.work
	used := share - l.perform(s, share, 1, streamWork)
	h.budget -= used + l.work - before // with the connections that were made or closed
	l.work += 2 * used
}

// finishStream ends the exchange of a stream.
func (l *loop) finishStream(s *session, op exchange.Op) {
	h, st, why, last := s.c.h2, s.stream.x, s.x.Reset(), s.x.Closes()
	l.end(s)
	st.User, s.stream.x = nil, nil
	if op == exchange.OpClose {
		st.Close()
		h.c.served = true
	} else {
		st.Reset(why)
	}
	if last {
		h.x.Drain()
	}
}

func readStream(s *session, b []byte) (int, wire.Result) {
	n, res := s.stream.x.Read(b)
	if res == wire.EOF {
		if section := s.stream.x.Trailers(); section != nil {
			s.x.Trailers(section)
		}
	}
	return n, res
}

func writeStream(s *session, a, b []byte) (int, wire.Result) {
	n, res := s.stream.x.Write(a, b, s.x.Ends(exchange.Client))
	s.c.h2.blocked = s.c.h2.blocked || res == wire.Blocked
	return n, res
}

// shutStream ends a tunnel's bytes to the client.
func shutStream(s *session) { s.stream.x.Write(nil, nil, true) }

// moved: the client takes bytes. Streams whose own wait for room behind those of others have no fault in that.
func (h *h2Conn) moved(now int64) {
	if !h.blocked {
		return
	}
	h.blocked = false
	for s := h.streams.First(); s != nil; s = s.stream.link.Next() {
		if a, b := s.x.Pending(exchange.Client); len(a)+len(b) == 0 {
			continue
		}
		h.blocked = true
		if s.stream.x.Held() {
			s.x.Now(now)
			s.x.Held()
		}
	}
}

// toEnd makes a session the last of the list.
func (h *h2Conn) toEnd(s *session) {
	h.streams.Remove(&s.stream.link)
	h.streams.PushBack(&s.stream.link, s)
}

// remove takes a session that ends from its connection.
func (h *h2Conn) remove(s *session) {
	h.streams.Remove(&s.stream.link)
	if s.queued {
		h.queued--
	}
}
