package heads

import (
	"portico/proxy/http1"
	"portico/proxy/http2/hpack"
	"portico/proxy/http2/priority"
	"portico/proxy/wire"
)

// Request turns the fields of a header block into text of HTTP/1, so that one parser holds one set of rules, and demands what is
// HTTP/2's alone (RFC 9113, 8.2 and 8.3).
type Request struct {
	Over   bool  // longer than the limit
	Length int64 // what Content-Length says; -1: nothing that is valid
	Urge   priority.Urgency

	mem   wire.Memory
	buf   []byte // borrowed: the pseudo-fields' values as they came, then the text
	start int    // of the text
	most  int    // bytes of text that are taken
	lines int    // fields that are taken yet
	crumb int    // cookies that are taken yet

	trailers bool
	begun    bool // the text has begun: no pseudo-field may follow
	bad      bool // malformed: the stream ends with PROTOCOL_ERROR

	pseudo [hpack.KindUnknown - hpack.KindMethod]span
	hosts  int
	cookie int  // where the text of the cookies ends, 0: none came
	tunnel bool // an extended CONNECT (RFC 8441, 4)
}

// span is a part of buf.
type span struct {
	at, end int
	set     bool
}

// Begin prepares for a block.
func (r *Request) Begin(mem wire.Memory, lim *http1.Limits, trailers bool) {
	*r = Request{mem: mem, trailers: trailers, begun: trailers, Length: -1, Urge: priority.Usual}
	r.most, r.lines, r.crumb = lim.Head, lim.Fields+1, 4*lim.Fields // one field more than http1 takes: it says so to the client
	if trailers {
		r.most = lim.Trailers
	}
	r.buf = mem.Get(1)[:0]
}

// Drop gives the buffer back.
func (r *Request) Drop() {
	if r.buf != nil {
		r.mem.Put(r.buf[:cap(r.buf)])
		r.buf = nil
	}
}

// Text returns the text so far.
func (r *Request) Text() []byte { return r.buf[r.start:] }

// Give returns the text and leaves its buffer to the caller.
func (r *Request) Give() (buf, text []byte) {
	buf, text = r.buf, r.Text()
	r.buf = nil
	return buf, text
}

// fits makes sure that n bytes can be appended. Text beyond the limit is cut where http1 sees that it was too long.
func (r *Request) fits(n int) bool {
	if r.Over {
		return false
	}
	if len(r.buf)-r.start+n > r.most {
		r.overflow()
		return false
	}
	r.room(n)
	return true
}

func (r *Request) room(n int) {
	if len(r.buf)+n <= cap(r.buf) {
		return
	}
	b := r.mem.Get(2*cap(r.buf) + n)
	b = b[:copy(b, r.buf)]
	r.mem.Put(r.buf[:cap(r.buf)])
	r.buf = b
}

// overflow fills the text up with what ends no line: one byte more than the limit.
func (r *Request) overflow() {
	r.Over = true
	n := r.start + r.most + 1 - len(r.buf)
	r.room(n)
	for range n {
		r.buf = append(r.buf, 'x')
	}
}

// Add takes a field.
func (r *Request) Add(f *hpack.Field) {
	switch {
	case r.bad:
	case f.Flawed():
		r.bad = true
	case f.Kind.Pseudo():
		r.addPseudo(f)
	default:
		r.beginText()
		r.addField(f)
	}
}

// addPseudo keeps the value of a pseudo-field (RFC 9113, 8.3): each once, before all others, and none that is not a request's.
func (r *Request) addPseudo(f *hpack.Field) {
	if r.begun || f.Kind == hpack.KindUnknown || r.pseudo[f.Kind-hpack.KindMethod].set {
		r.bad = true
		return
	}
	if r.fits(len(f.Value)) {
		r.pseudo[f.Kind-hpack.KindMethod] = span{len(r.buf), len(r.buf) + len(f.Value), true}
		r.buf = append(r.buf, f.Value...)
	}
}

// addField takes a field that is none of the pseudo-fields.
func (r *Request) addField(f *hpack.Field) {
	switch f.Kind {
	case hpack.KindHop:
		r.bad = true // RFC 9113, 8.2.2
	case hpack.KindTE:
		if string(f.Value) != "trailers" {
			r.bad = true
			return
		}
		r.line(f.Name, f.Value)
	case hpack.KindHost:
		r.addHost(f)
	case hpack.KindCookie:
		r.addCookie(f)
	case hpack.KindLength:
		r.Length = parseLength(f.Value)
		r.bad = r.bad || r.tunnel
		r.line(f.Name, f.Value)
	case hpack.KindPriority:
		r.Urge = priority.Parse(f.Value)
		r.line(f.Name, f.Value)
	case hpack.KindKey:
		if !r.tunnel {
			r.line(f.Name, f.Value)
		}
	default:
		r.line(f.Name, f.Value)
	}
}

// line appends "name: value".
func (r *Request) line(name, value []byte) {
	if r.lines == 0 || !r.fits(len(name)+len(value)+4) {
		return
	}
	r.lines--
	r.buf = append(append(append(append(r.buf, name...), ": "...), value...), "\r\n"...)
}

// addHost takes Host: beside :authority it must say the same, and goes without saying (RFC 9113, 8.3.1).
func (r *Request) addHost(f *hpack.Field) {
	r.hosts++
	a := &r.pseudo[hpack.KindAuthority-hpack.KindMethod]
	switch {
	case !a.set:
		r.line(f.Name, f.Value)
	case r.hosts > 1 || !http1.SameHost(f.Value, r.buf[a.at:a.end]):
		r.bad = true
	}
}

// addCookie joins the pieces that a client may split its cookies into (RFC 9113, 8.2.3).
func (r *Request) addCookie(f *hpack.Field) {
	if r.cookie == 0 {
		r.line(f.Name, f.Value)
		r.cookie = len(r.buf) - 2
		return
	}
	if r.crumb--; r.crumb < 0 && !r.Over {
		r.overflow()
	}
	n := len(f.Value) + 2
	if !r.fits(n) {
		return
	}
	end := len(r.buf)
	r.buf = r.buf[:end+n]
	copy(r.buf[r.cookie+n:], r.buf[r.cookie:end])
	r.cookie += copy(r.buf[r.cookie:], "; ")
	r.cookie += copy(r.buf[r.cookie:], f.Value)
}

// End ends the block and reports whether it was well-formed.
func (r *Request) End() bool {
	r.beginText()
	if r.bad {
		return false
	}
	if !r.Over { // the limit has no part in these two bytes: it was the fields'
		r.room(2)
		r.buf = append(r.buf, "\r\n"...)
	}
	return true
}

func parseLength(b []byte) int64 {
	if len(b) == 0 || len(b) > 18 {
		return -1
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int64(c-'0')
	}
	return n
}
