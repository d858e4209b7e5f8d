package http2

import (
	"bytes"
	"net"
	"strconv"
	"testing"
	"time"

	"portico/proxy/http1"
	"portico/proxy/wire"
)

// lender is a Memory that counts what it has lent.
type lender struct {
	free [3][][]byte
	lent int // bytes
	most int // of lent, ever
}

func (m *lender) Get(size int) []byte {
	b := m.get(size)
	m.lent += len(b)
	m.most = max(m.most, m.lent)
	return b
}

func (m *lender) get(size int) []byte {
	for i, s := range [...]int{8 << 10, 32 << 10, 64 << 10} {
		if size > s {
			continue
		}
		if n := len(m.free[i]); n > 0 {
			b := m.free[i][n-1]
			m.free[i] = m.free[i][:n-1]
			return b
		}
		return make([]byte, s)
	}
	return make([]byte, size)
}

func (m *lender) Put(b []byte) {
	m.lent -= cap(b)
	for i, s := range [...]int{8 << 10, 32 << 10, 64 << 10} {
		if cap(b) == s {
			m.free[i] = append(m.free[i], b[:s])
		}
	}
}

// defaults is a configuration with its defaults.
func defaults() *Config {
	l, t := http1.Limits{}.WithDefaults(), wire.Timeouts{}.WithDefaults()
	return &Config{Limits: &l, Timeouts: &t}
}

// reply is what a test's server says to a request.
type reply struct {
	status   int
	fields   [][2]string
	body     []byte
	trailers [][2]string
	echo     bool // the request's body comes back, as it comes
}

// asked is a request on its way.
type asked struct {
	reply
	req  http1.Request
	text []byte
	body []byte // of the request, unless it is echoed
	out  []byte // to send yet
	end  bool   // all of the request has come
	done bool
}

// server serves a Conn with answers that a function chooses. It moves bytes for nobody: see feed and net.
type server struct {
	t      testing.TB
	c      Conn
	mem    lender
	answer func(a *asked) reply
	resets int
	open   map[*Stream]*asked
	piece  []byte
	hold   bool // nothing is answered or read

	refused func(http1.Fault) // may be nil
}

func newServer(t testing.TB, answer func(a *asked) reply) *server {
	s := &server{t: t, answer: answer, open: map[*Stream]*asked{}, piece: make([]byte, 16<<10)}
	s.c.Begin(defaults(), &s.mem, int64(time.Second))
	return s
}

// act does what follows from all events.
func (s *server) act() {
	for {
		switch e := s.c.Next(); e.Kind {
		case EventNone:
			return
		case EventOpen:
			if e.Stream.Malformed() {
				e.Stream.Reset(wire.ResetMalformed)
				continue
			}
			a := &asked{text: bytes.Clone(e.Stream.Request())}
			s.open[e.Stream] = a
			f := http1.FaultHeadLong // as an exchange finds it
			if len(a.text) <= s.c.conf.Limits.Head {
				f = http1.ParseRequest(&a.req, a.text, s.c.conf.Limits)
			}
			if f != http1.NoFault {
				if s.refused != nil {
					s.refused(f)
				}
				a.reply, a.end = reply{status: f.Status()}, true
				s.head(e.Stream, a)
				s.pump(e.Stream, a)
				continue
			}
			if s.hold {
				continue
			}
			a.reply = s.answer(a)
			a.end = !e.Stream.Open() || a.req.Get("x-early") != nil
			if a.end || a.echo {
				s.head(e.Stream, a)
			}
			s.pump(e.Stream, a)
		case EventReadable, EventWritable:
			if s.hold {
				continue
			}
			s.pump(e.Stream, s.open[e.Stream])
		case EventReset:
			s.resets++
			delete(s.open, e.Stream)
			e.Stream.Reset(wire.ResetCancel)
		}
	}
}

func (s *server) head(st *Stream, a *asked) {
	st.Head(a.status)
	for _, f := range a.fields {
		st.Field([]byte(f[0]), []byte(f[1]))
	}
	a.out = a.reply.body
	last := len(a.out) == 0 && !a.echo && a.trailers == nil
	st.EndHead(last)
	if last {
		a.done = true
	}
}

// pump moves what can be moved of a request and its answer.
func (s *server) pump(st *Stream, a *asked) {
	for s.read(st, a) || s.write(st, a) {
	}
	if a.done {
		delete(s.open, st)
		st.Close()
	}
}

// read reports whether something came that may be written at once.
func (s *server) read(st *Stream, a *asked) bool {
	if a.end || a.done || a.echo && len(a.out) > 64<<10 {
		return false
	}
	n, res := st.Read(s.piece)
	if a.echo {
		a.out = append(a.out, s.piece[:n]...)
	} else {
		a.body = append(a.body, s.piece[:n]...)
	}
	if res == wire.EOF {
		a.end = true
		if !a.echo {
			a.reply = s.answer(a)
			s.head(st, a)
		}
	}
	return n > 0
}

// write reports whether something went.
func (s *server) write(st *Stream, a *asked) bool {
	if a.done || !a.end && len(a.out) == 0 {
		return false
	}
	end := a.end && a.trailers == nil
	if len(a.out) > 0 || end {
		k := len(a.out) / 3
		n, res := st.Write(a.out[:k], a.out[k:], end)
		a.out = a.out[n:]
		if res == wire.Failed {
			s.t.Errorf("a write failed")
		}
		if res == wire.Blocked {
			return n > 0
		}
		a.done = end
	}
	if a.end && a.trailers != nil {
		st.Head(0)
		for _, f := range a.trailers {
			st.Field([]byte(f[0]), []byte(f[1]))
		}
		st.EndHead(true)
		a.done = true
	}
	return !a.done
}

// feed lets the connection read b and returns what it writes. The client takes everything at once.
func (s *server) feed(b []byte) (out []byte) {
	s.act()
	out = s.taken(out)
	for len(b) > 0 && !s.c.Over() {
		n := copy(s.c.Space(), b)
		b = b[n:]
		s.c.Read(n, wire.More)
		s.act()
		out = s.taken(out)
	}
	return out
}

// taken appends what is pending, and what comes when that was taken.
func (s *server) taken(out []byte) []byte {
	for p := s.c.Pending(); len(p) > 0; p = s.c.Pending() {
		out = append(out, p...)
		s.c.Wrote(len(p), wire.More)
		s.act()
	}
	return out
}

// net serves a connection until it ends.
func (s *server) net(nc net.Conn) {
	defer nc.Close()
	for {
		s.c.Now(time.Now().UnixNano())
		s.act()
		for p := s.c.Pending(); len(p) > 0; p = s.c.Pending() {
			n, err := nc.Write(p)
			res := wire.More
			if err != nil {
				res = wire.Failed
			}
			s.c.Wrote(n, res)
			s.act()
		}
		if s.c.Over() {
			s.act()
			return
		}
		n, err := nc.Read(s.c.Space())
		res := wire.More
		if err != nil {
			res = wire.EOF
		}
		s.c.Read(n, res)
	}
}

// ends checks that nothing is left.
func (s *server) ends() {
	s.t.Helper()
	if n := s.c.Streams(); n != 0 || len(s.open) != 0 {
		s.t.Errorf("%d streams are left", n)
	}
	s.c.Release()
	if s.mem.lent != 0 {
		s.t.Errorf("%d bytes are still lent", s.mem.lent)
	}
}

func plain(status int, body string) reply {
	return reply{status: status, fields: [][2]string{{"Content-Type", "text/plain"}, {"Content-Length", strconv.Itoa(len(body))}}, body: []byte(body)}
}
