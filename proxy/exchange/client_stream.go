package exchange

import (
	"bytes"
	"strconv"

	"portico/proxy/exchange/account"
	"portico/proxy/http1"
	"portico/proxy/wire"
)

// Sink takes the heads of an exchange's answers where its client is a stream of a connection that carries several.
type Sink interface {
	Head(status int)          // begins a head: interim (1xx), final, or with 0 the trailers behind the body
	Field(name, value []byte) // adds a field; the name may come in any case, and both are valid until it returns
	EndHead(last bool)        // ends the head; last: nothing follows on the stream
}

// Stream makes x, after Begin, serve one request of a connection that carries several: its head comes as HTTP/1 text, its body as it is,
// and the heads of its answers go to the sink. open says that a body, or a tunnel's bytes, follow the head. The driver does for it what it
// does for a connection of its own, with these differences:
//
//   - Read says EOF where the request ends, after Trailers if it has any.
//   - What Pending returns is body. Where Ends reports so, the stream's end goes with its last byte, or alone when there is none:
//     Wrote(Client, 0, More) says that it was sent.
//   - There is one request: OpIdle never comes, nor OpKeepUpstream.
//   - OpShutClient is the end of a tunnel's bytes to the client, OpAbort a reset of the stream for the reason that Why gives.
func (x *Exchange) Stream(to Sink, open bool) {
	x.stream = streamClient{sink: to, open: open}
	x.client = &x.stream
}

// Malformed says, after Stream and instead of a head, that the request is none by the rules of its connection's protocol. It counts as
// refused; OpAbort comes instead of an answer.
func (x *Exchange) Malformed() {
	const fault = http1.FaultMalformed
	x.blank()
	x.rec.Start, x.peer.Now = x.now, x.now
	x.step(account.StepRefuse, int(fault))
	x.conf.Handler.Failed(&x.req, &x.peer, &x.dec, Why{Cause: account.CauseRequest, Fault: fault})
	x.rec.Local, x.rec.Status = true, fault.Status()
	x.record(account.CauseRequest, fault)
	x.phase, x.why = phaseAbort, account.CauseRequest
}

// Trailers gives the trailer section of the request's body, "name: value" lines with CRLF and an empty line, before Read tells EOF.
func (x *Exchange) Trailers(section []byte) {
	if x.up.mode == bodyClose { // with a length, nothing can follow the body on its way to the upstream
		x.up.keepTail(section)
	}
}

// Ends reports whether what Pending of a side returns is the last of its stream.
func (x *Exchange) Ends(s Side) bool {
	if s == Up {
		return x.owesEnd() && len(x.up.tail) == 0
	}
	return x.endOwed && x.down.done && len(x.down.tail) == 0
}

// Reset is how that is told to the client.
func (x *Exchange) Reset() wire.Reset {
	if x.why == account.CauseReset {
		return x.resetAs
	}
	return x.why.Reset()
}

// Closes reports whether the handler wants the client's connection to end behind this answer; more requests may be open on it.
func (x *Exchange) Closes() bool { return x.dec.Close }

// streamClient is a client that speaks on one stream of a connection.
type streamClient struct {
	sink   Sink
	open   bool // a body, or a tunnel's bytes, follow the head
	digits [20]byte
}

// understood: no field says that a body follows, which the stream does by staying open, unless it stays so for a tunnel. One that stays
// open behind a length of 0 may still turn out to have a body, and be no request: it is waited for its end.
func (c *streamClient) understood(x *Exchange) bool {
	r := &x.req
	r.Major = 2
	if c.open && r.Length < 0 && !r.Upgrades() {
		r.Chunked = true
	}
	return !c.open || r.Length != 0 || x.up.eof
}

func (*streamClient) upload() bodyMode { return bodyClose }

// keeps: a body never comes together with its head, as it does over HTTP/1.
func (*streamClient) keeps(up *flow) bool {
	room := len(up.in) - up.w
	return up.mode == bodyClose && room >= bodyRoom || up.mode == bodyLength && int64(room) >= up.left
}

func (*streamClient) alone() bool { return false }

func (c *streamClient) proceed(x *Exchange) {
	c.head(x, 100)
	c.sink.EndHead(false)
}

func (c *streamClient) interim(x *Exchange, add []byte) {
	c.head(x, x.resp.Status)
	c.fields(x, http1.FrameNone)
	c.lines(x, add)
	c.sink.EndHead(false)
}

// switched: over a stream, a request for a tunnel is an extended CONNECT, which any success answers (RFC 8441, 5). The key that proves the
// upstream's was not the client's.
func (c *streamClient) switched(x *Exchange) {
	x.resp.Drop("sec-websocket-accept")
	c.head(x, 200)
	c.fields(x, http1.FrameNone)
	c.lines(x, x.dec.AnswerFields)
	c.sink.EndHead(false)
}

// streamPortion fills two frames of 16 KiB with their heads, and so two TLS records; for the rest of a full buffer a third would be made.
const streamPortion = 2 * (16<<10 - 9)

func (*streamClient) portion() int { return streamPortion }

func (*streamClient) unbounded(*Exchange) http1.Framing { return http1.FrameStream }

func (*streamClient) empty() http1.Framing { return http1.FrameNone }

func (c *streamClient) final(x *Exchange, frame http1.Framing, length int64) {
	x.closing = true
	c.head(x, x.resp.Status)
	c.fields(x, frame)
	c.lines(x, x.dec.AnswerFields)
	if frame == http1.FrameLength {
		c.length(x, length)
	}
	c.endHead(x, frame == http1.FrameNone || x.req.IsHead() || http1.Bodyless(x.resp.Status) || frame == http1.FrameLength && length == 0)
}

func (c *streamClient) local(x *Exchange, body []byte) {
	d := &x.dec
	x.closing = true
	c.head(x, d.Status)
	c.lines(x, d.Header)
	c.lines(x, d.AnswerFields)
	if !http1.Bodyless(d.Status) {
		c.length(x, int64(len(body)))
	}
	if x.req.IsHead() || http1.Bodyless(d.Status) {
		body = nil
	}
	x.down.out = append(x.down.out, body...)
	c.endHead(x, len(body) == 0)
}

func (c *streamClient) trailers(x *Exchange) {
	c.sink.Head(0)
	c.lines(x, x.down.tail)
	c.endHead(x, true)
}

func (*streamClient) resets(*Exchange) bool { return true }

func (*streamClient) leave(x *Exchange) { x.phase = phaseClose }

// head begins a head. What it takes on the wire is the connection's affair; it counts as it would be written in HTTP/1.
func (c *streamClient) head(x *Exchange, status int) {
	x.rec.BytesOut += int64(len("HTTP/2.0 200\r\n\r\n"))
	c.sink.Head(status)
}

// endHead ends a final head or the trailers.
func (c *streamClient) endHead(x *Exchange, last bool) {
	x.endOwed = !last
	c.sink.EndHead(last)
}

func (c *streamClient) field(x *Exchange, name, value []byte) {
	x.rec.BytesOut += int64(len(name) + len(value) + len(": \r\n"))
	c.sink.Field(name, value)
}

// fields passes on those of the upstream's that travel.
func (c *streamClient) fields(x *Exchange, frame http1.Framing) {
	r := &x.resp
	for i := range r.Fields {
		if f := &r.Fields[i]; r.Travels(f, frame) {
			c.field(x, r.Name(f), r.Value(f))
		}
	}
}

// lines adds complete ones of our own making.
func (c *streamClient) lines(x *Exchange, b []byte) {
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			end = len(b) - 1
		}
		if colon := bytes.IndexByte(b[:end], ':'); colon > 0 {
			c.field(x, b[:colon], bytes.TrimSpace(b[colon+1:end]))
		}
		b = b[end+1:]
	}
}

var contentLength = []byte("content-length")

func (c *streamClient) length(x *Exchange, n int64) {
	c.field(x, contentLength, strconv.AppendInt(c.digits[:0], n, 10))
}

// Held says that the client takes bytes, only none of this stream's, as others of its connection come first: it is not waited for.
func (x *Exchange) Held() { x.writes.again(x.now) }
