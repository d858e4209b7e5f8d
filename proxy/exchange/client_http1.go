package exchange

import "portico/proxy/http1"

// http1Client is a client that has its connection to itself and speaks HTTP/1 on it, one request after the other.
type http1Client struct{}

func (http1Client) understood(*Exchange) bool { return true }

func (http1Client) upload() bodyMode { return bodyChunked }

func (http1Client) keeps(*flow) bool { return false }

func (http1Client) alone() bool { return true }

func (http1Client) proceed(x *Exchange) {
	x.down.begin(smallBuffer)
	x.down.out = append(x.down.out, "HTTP/1.1 100 Continue\r\n\r\n"...)
}

func (http1Client) interim(x *Exchange, add []byte) {
	x.down.begin(smallBuffer)
	x.down.out = http1.AppendResponse(x.down.out, &x.resp, http1.FrameNone, 0, add, "")
}

func (http1Client) switched(x *Exchange) {
	x.down.begin(smallBuffer)
	x.down.out = http1.AppendResponse(x.down.out, &x.resp, http1.FrameNone, 0, x.dec.AnswerFields, "Connection: Upgrade\r\nUpgrade: ")
	x.down.out = x.down.out[:len(x.down.out)-2] // the empty line, written too early
	x.down.out = append(x.down.out, x.upgrade...)
	x.down.out = append(x.down.out, "\r\n\r\n"...)
}

// portion: as much as a buffer of the memory's holds.
func (http1Client) portion() int { return chunkBuffer }

// unbounded: HTTP/1.0 clients only understand the connection's end.
func (http1Client) unbounded(x *Exchange) http1.Framing {
	if x.req.Minor == 0 {
		return http1.FrameClose
	}
	return http1.FrameChunked
}

func (http1Client) empty() http1.Framing { return http1.FrameLength }

func (c http1Client) final(x *Exchange, frame http1.Framing, length int64) {
	size := smallBuffer
	if frame == http1.FrameChunked {
		size = chunkBuffer
	}
	x.down.begin(size)
	x.down.out = http1.AppendResponse(x.down.out, &x.resp, frame, length, x.dec.AnswerFields, c.connection(x, frame))
}

// connection settles whether the client's connection outlives the answer, and says so where the version does not.
func (http1Client) connection(x *Exchange, frame http1.Framing) string {
	if frame == http1.FrameClose || !x.req.KeepAlive || x.draining || x.dec.Close || x.dec.Broken || x.up.eof {
		x.closing = true
	}
	switch {
	case x.closing:
		return "Connection: close\r\n"
	case x.req.Minor == 0:
		return "Connection: keep-alive\r\n"
	}
	return ""
}

func (c http1Client) local(x *Exchange, body []byte) {
	d, out := &x.dec, x.down.out
	out = http1.AppendStatusLine(out, d.Status, nil)
	out = append(out, d.Header...)
	out = append(out, d.AnswerFields...)
	if !http1.Bodyless(d.Status) {
		out = http1.AppendFraming(out, http1.FrameLength, int64(len(body)))
	}
	out = append(out, c.connection(x, http1.FrameLength)...)
	out = append(out, "\r\n"...)
	if !x.req.IsHead() && !http1.Bodyless(d.Status) {
		out = append(out, body...)
	}
	x.down.out = out
}

// trailers are a part of a chunked body.
func (http1Client) trailers(*Exchange) {}

// resets: a client that counts sees what is missing; one that waits for the end does not.
func (http1Client) resets(x *Exchange) bool { return x.down.frame == http1.FrameClose }

// leave closes at once when the client has nothing more to say, else reads on for a little, so that the answer is not
// destroyed by a reset (RFC 9112, 9.6).
func (http1Client) leave(x *Exchange) {
	f := &x.up
	if f.eof || x.gone || f.done && f.r == f.w && x.can&ReadClient == 0 {
		x.phase = phaseClose
		return
	}
	x.phase, x.phaseSince = phaseLinger, x.now
	x.owed[Client].Forget()
	x.lingered = 0
	f.shut = false
}

func (x *Exchange) nextLinger() Op {
	f := &x.up
	if !f.shut {
		f.shut = true
		return OpShutClient
	}
	if x.can&ReadClient != 0 {
		return OpReadClient
	}
	return OpWait
}
