package heads

import (
	"portico/proxy/http1"
	"portico/proxy/http2/hpack"
	"portico/proxy/wire"
)

// Answer turns the fields of an origin's header block into text of HTTP/1, as Request does for a client's.
type Answer struct {
	Request
	Status int // as the origin sent it
}

// Begin prepares for a block.
func (a *Answer) Begin(mem wire.Memory, lim *http1.Limits, trailers bool) {
	a.Request.Begin(mem, lim, trailers)
	a.Status = 0
	if !trailers {
		a.most, a.lines = lim.ResponseHead, lim.ResponseFlds+1
	}
}

// Add takes a field. tunnel: an extended CONNECT is answered.
func (a *Answer) Add(f *hpack.Field, tunnel bool) {
	switch {
	case a.bad:
	case f.Flawed():
		a.bad = true
	case len(f.Name) > 0 && f.Name[0] == ':':
		a.bad = a.begun || string(f.Name) != ":status" || !a.line1(f.Value, tunnel)
	case !a.begun, f.Kind == hpack.KindHop, f.Kind == hpack.KindTE: // RFC 9113, 8.3.2 and 8.2.2
		a.bad = true
	case f.Kind == hpack.KindLength && !a.trailers:
		a.Length = parseLength(f.Value)
		a.line(f.Name, f.Value)
	default:
		a.line(f.Name, f.Value)
	}
}

// line1 writes the status line. 101 is no status of HTTP/2 (RFC 9113, 8.6); what it says in HTTP/1, a success does that answers an
// extended CONNECT (RFC 8441, 5).
func (a *Answer) line1(status []byte, tunnel bool) bool {
	if len(status) != 3 || status[0] < '1' || status[0] > '5' || string(status) == "101" {
		return false
	}
	for _, c := range status {
		if c < '0' || c > '9' {
			return false
		}
		a.Status = 10*a.Status + int(c-'0')
	}
	a.begun = true
	if tunnel && a.Status/100 == 2 {
		status = []byte("101")
	}
	if a.fits(16) {
		a.buf = append(append(append(a.buf, "HTTP/1.1 "...), status...), " \r\n"...)
	}
	return true
}

// End ends the block and reports whether it was well-formed.
func (a *Answer) End() bool {
	if !a.begun {
		return false
	}
	return a.Request.End()
}

// Prove adds what an answer has in HTTP/1 that opens a WebSocket.
func (a *Answer) Prove(accept []byte) {
	a.buf = a.buf[:len(a.buf)-2] // the empty line
	a.line([]byte("connection"), []byte("Upgrade"))
	a.line([]byte("upgrade"), []byte("websocket"))
	a.line([]byte("sec-websocket-accept"), accept)
	a.room(2)
	a.buf = append(a.buf, "\r\n"...)
}
