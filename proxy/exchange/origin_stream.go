package exchange

import (
	"portico/proxy/exchange/account"
	"portico/proxy/http1"
	"portico/proxy/wire"
)

// Where Upstream.HTTP2 says so, what OpConnect attaches is a stream of a connection that carries other requests, too. The driver does for
// it what it does for a connection, with these differences:
//
//   - What Pending returns begins with the request's head as HTTP/1 text, whole; the body behind it is as it is. Where Ends reports so,
//     the stream's end goes with its last byte, or alone when there is none: Wrote(Up, 0, More) says that it was sent. Where TrailersUp
//     returns some, the end goes with these instead.
//   - What Read brings begins with the heads of the answer as HTTP/1 text, the body behind it is as it is, and EOF is where the answer
//     ends in order, after AnswerTrailers if it has any. A stream that was reset, or whose connection has broken, has Failed, after Unread
//     where the origin has told that it did not look at the request, after GivenUp where it gave up the request alone, and after Garbled
//     where its answer was none.
//   - OpReleaseUpstream and OpDropUpstream end the stream. Its connection goes on, unless Bound says that it is this request's alone.
//   - OpShutUpstream is the end of a tunnel's bytes to the upstream. OpKeepUpstream never comes.

// Bound reports whether what OpConnect asks for may carry nobody else's request, before or after.
func (x *Exchange) Bound() bool { return x.bound }

// Upgrades reports whether the request of OpConnect wants to become a tunnel. Where that cannot be, NoTunnel says so in Connected's place.
func (x *Exchange) Upgrades() bool { return x.upgrades() != nil }

// NoTunnel says that the origin makes no tunnels.
func (x *Exchange) NoTunnel() {
	if !x.Connecting() {
		return
	}
	x.connecting = false
	x.failed(Why{Cause: account.CauseResponse, Fault: http1.FaultNoTunnel})
}

// streamUp makes the request that was just rendered one for a stream.
func (x *Exchange) streamUp() {
	x.endUp = x.upgrade == nil
	if x.up.mode != bodyNone {
		x.up.frame = http1.FrameStream
	}
}

// owesEnd reports whether the origin is to be told that the request is complete.
func (x *Exchange) owesEnd() bool { return x.endUp && x.up.done }

// TrailersUp returns the trailers to end the request with, when all before them was sent.
func (x *Exchange) TrailersUp() []byte {
	if x.owesEnd() && !x.up.pending() {
		return x.up.tail
	}
	return nil
}

// AnswerTrailers gives the trailer section of the answer, "name: value" lines with CRLF and an empty line, before Read tells EOF.
func (x *Exchange) AnswerTrailers(section []byte) {
	if x.has && !x.down.done && (!x.headDone || x.trails()) {
		x.down.keepTail(section)
	}
}

// trails reports whether the client can have trailers behind the answer: HTTP/1 has them in chunks alone.
func (x *Exchange) trails() bool { return !x.client.alone() || x.down.frame == http1.FrameChunked }

// wantsTrailers reports whether a client of HTTP/1.1 is better served with the trailers that an answer announces than with its length
// (RFC 9110, 6.5.1): it has said that it takes them.
func (x *Exchange) wantsTrailers() bool {
	return x.client.alone() && x.req.Minor == 1 && x.req.TakesTrailers() && len(x.resp.Get("trailer")) > 0
}

// GivenUp says that the upstream has reset the stream, which Read tells next, for a reason of the request's: its connection goes on, and
// nothing speaks against it. A client that is a stream is told the same.
func (x *Exchange) GivenUp(why wire.Reset) { x.given, x.resetAs = true, why }

// Garbled says that what the upstream has sent on the stream is malformed, which is why Read tells its end next: so would it be elsewhere.
func (x *Exchange) Garbled() { x.garbled = true }

func (x *Exchange) givenUp() {
	switch {
	case x.headDone:
		x.cut(account.CauseReset, http1.NoFault)
	case x.client.alone():
		x.failed(Why{Cause: account.CauseReset})
	default:
		x.rec.Status = 502
		x.cut(account.CauseReset, http1.NoFault)
	}
}

// streamFraming is answerFraming for a body that ends with its stream, whose length was checked there.
func (x *Exchange) streamFraming() (bodyMode, http1.Framing, int64) {
	r, f := &x.resp, &x.down
	switch {
	case r.Length == 0 && (f.eof && f.tail == nil || x.client.alone() && !x.wantsTrailers()):
		return bodyNone, http1.FrameLength, 0
	case r.Length >= 0 && x.wantsTrailers():
		return bodyClose, http1.FrameChunked, 0
	case r.Length > 0:
		return bodyClose, http1.FrameLength, r.Length
	case f.eof && f.r == f.w && f.tail == nil:
		return bodyNone, x.client.empty(), 0
	}
	return bodyClose, x.client.unbounded(x), 0
}

// talks reports whether both sides send when they like, as they do in a remote procedure call that streams: neither is waited for then
// as one that sends a body, or owes an answer.
func (x *Exchange) talks() bool {
	return x.shares && !x.up.done && (x.headDone || isGRPC(x.req.First(http1.ContentType)))
}

func isGRPC(contentType []byte) bool {
	const grpc = "application/grpc"
	return len(contentType) >= len(grpc) && http1.FoldsTo(contentType[:len(grpc)], grpc)
}
