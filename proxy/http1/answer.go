package http1

// answerHead parses one response head and renders it. It reports whether there may be another one behind it, and changes the
// phase when the head is not acceptable.
func (x *Exchange) answerHead() bool {
	f := &x.down
	end, fault := x.responseHead()
	if end == 0 && fault == NoFault {
		return false
	}
	if fault == NoFault {
		f.r += end
		f.scan = 0
		switch {
		case x.resp.Status == 101:
			fault = x.switchProtocols()
		case x.resp.Status < 200:
			return x.interimHead()
		default:
			x.finalHead()
		}
	}
	if fault != NoFault {
		x.failed(Why{Cause: CauseResponse, Fault: fault})
	}
	return false
}

// responseHead is head for the upstream's side.
func (x *Exchange) responseHead() (int, Fault) {
	f, lim := &x.down, &x.conf.Limits
	b := f.in[f.r:f.w]
	if f.scan == 0 && len(b) > 0 {
		if end, fault := parseResponse(&x.resp, b, lim); fault == NoFault && end <= lim.ResponseHead {
			return end, NoFault
		}
	}
	end, next, fault := ScanHead(b, f.scan)
	f.scan = next
	switch {
	case fault != NoFault:
	case end > lim.ResponseHead, end == 0 && len(b) >= lim.ResponseHead:
		fault = FaultHeadLong
	case end == 0:
	default:
		fault = ParseResponse(&x.resp, b[:end], lim)
	}
	return end, fault
}

// interimHead passes a 1xx answer on and reports that the final one is still to come.
func (x *Exchange) interimHead() bool {
	x.step(StepInterim, x.resp.Status)
	if x.interim++; x.interim > x.conf.Limits.Interim {
		x.failed(Why{Cause: CauseResponse, Fault: FaultInterim})
		return false
	}
	if x.resp.Status == 100 {
		if x.hold {
			x.proceed()
		}
		return true
	}
	if x.req.Minor == 1 {
		x.down.begin(smallBuffer)
		x.down.out = appendResponse(x.down.out, &x.resp, frameNone, 0, nil, "")
	}
	return true
}

// proceed lets a client that waits for 100 Continue send its body.
func (x *Exchange) proceed() {
	x.hold = false
	x.down.begin(smallBuffer)
	x.down.out = append(x.down.out, "HTTP/1.1 100 Continue\r\n\r\n"...)
}

// switchProtocols turns the exchange into a tunnel if the client asked for just this protocol.
func (x *Exchange) switchProtocols() Fault {
	if x.upgrade == nil || !x.resp.upgrade || !EqualFold(x.resp.upgradeTo, x.upgrade) {
		x.closing = true // the client may speak the other protocol already
		return FaultSwitch
	}
	if foldEq(x.upgrade, "websocket") && !accepts(x.req.Get("sec-websocket-key"), x.resp.Get("sec-websocket-accept")) {
		x.closing = true
		return FaultAccept
	}
	x.step(StepUpgrade, 101)
	x.conf.Handler.Answered(&x.req, &x.resp, &x.dec)
	x.rec.Status, x.rec.Upgraded, x.rec.FirstByte = 101, true, x.now
	x.down.begin(smallBuffer)
	x.down.out = appendResponse(x.down.out, &x.resp, frameNone, 0, x.dec.AnswerFields, "Connection: Upgrade\r\nUpgrade: ")
	x.down.out = x.down.out[:len(x.down.out)-2] // the empty line, written too early
	x.down.out = append(x.down.out, x.upgrade...)
	x.down.out = append(x.down.out, "\r\n\r\n"...)
	x.headDone, x.tunnel, x.closing = true, true, true
	x.up.mode, x.up.done = bodyTunnel, false
	x.down.mode, x.down.done = bodyTunnel, false
	return NoFault
}

// finalHead renders the head of the final answer.
func (x *Exchange) finalHead() {
	r := &x.resp
	x.step(StepHead, r.Status)
	x.conf.Handler.Answered(&x.req, r, &x.dec)
	mode, frame, length := x.answerFraming()
	x.reusable = r.KeepAlive && mode != bodyClose
	if !x.up.done || x.up.pending() {
		x.closing = true // an early answer: what follows from the client might be body
	}
	x.rec.Status, x.rec.FirstByte = r.Status, x.now
	size := smallBuffer
	if frame == frameChunked {
		size = chunkBuffer
	}
	x.down.begin(size)
	x.down.out = appendResponse(x.down.out, r, frame, length, x.dec.AnswerFields, x.connection(frame))
	x.headDone = true
	if x.req.IsHead() || bodyless(r.Status) {
		mode, length = bodyNone, 0
	}
	x.down.start(mode, length, frame)
	if x.down.eof && mode == bodyClose && x.down.r == x.down.w && frame == frameClose {
		x.down.done = true
	}
}

// answerFraming settles how the body is read and how it is sent on (RFC 9112, 6.3).
func (x *Exchange) answerFraming() (bodyMode, framing, int64) {
	r := &x.resp
	switch {
	case r.Status == 204:
		return bodyNone, frameNone, 0
	case x.req.IsHead() || r.Status == 304:
		if r.Length >= 0 {
			return bodyNone, frameLength, r.Length
		}
		return bodyNone, frameNone, 0
	case r.Chunked:
		return bodyChunked, x.unbounded(), 0
	case r.Length >= 0:
		return bodyLength, frameLength, r.Length
	}
	return bodyClose, x.unbounded(), 0
}

// unbounded is how a body without a known length is sent: HTTP/1.0 clients only understand the connection's end.
func (x *Exchange) unbounded() framing {
	if x.req.Minor == 0 {
		return frameClose
	}
	return frameChunked
}

// connection settles whether the client's connection outlives the answer, and says so where the version does not.
func (x *Exchange) connection(frame framing) string {
	if frame == frameClose || !x.req.KeepAlive || x.draining || x.dec.Close || x.up.eof {
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

// refuse answers a request that is not acceptable and closes the connection: where the next one begins is not known.
func (x *Exchange) refuse(fault Fault) {
	x.step(StepRefuse, int(fault))
	x.rec.Fault = fault
	x.dec.Close = true
	x.give(Why{Cause: CauseRequest, Fault: fault}, fault.Status())
}

// badBody ends a request whose body is malformed or too large. The upstream sees no end of it.
func (x *Exchange) badBody(fault Fault) {
	if x.headDone {
		x.cut(CauseRequest, fault)
		return
	}
	x.refuse(fault)
}

// failed gives the handler the choice between another upstream and an answer.
func (x *Exchange) failed(why Why) {
	x.step(StepFail, int(why.Cause))
	if x.headDone {
		x.cut(why.Cause, why.Fault)
		return
	}
	limit := x.dec.Attempts
	if limit == 0 {
		limit = 3
	}
	why.Retry = why.Retry && x.mayRepeat() && x.rec.Attempts < limit
	x.give(why, statusOf(why))
}

func statusOf(why Why) int {
	switch why.Cause {
	case CauseConnectTime, CauseTimeout:
		return 504
	case CauseBusy, CauseShutdown:
		return 503
	case CauseNone, CauseRequest, CauseResponse, CauseConnect, CauseUpstream, CauseClient:
	}
	return 502
}

// give asks the handler what to do about a failure and does it.
func (x *Exchange) give(why Why, status int) {
	before := x.dec.Upstream
	x.peer.Now = x.now
	x.dec.Verdict, x.dec.Status, x.dec.Header, x.dec.Body = Answer, status, nil, nil
	x.conf.Handler.Failed(&x.req, &x.peer, &x.dec, why)
	if why.Retry && x.dec.Verdict == Forward && x.dec.Upstream != nil && x.dec.Upstream != before {
		x.fresh = false
		x.rewind()
		x.connect()
		return
	}
	if why.Retry && x.dec.Verdict == Park {
		x.fresh = false
		x.rewind()
		x.dec.Parked++
		x.phase, x.phaseSince = phaseParked, x.now
		return
	}
	x.rec.Cause, x.rec.Fault = why.Cause, why.Fault
	x.answer()
}

// answer gives the decision's own answer. An upstream that is still attached is dropped.
func (x *Exchange) answer() {
	d := &x.dec
	if d.Status == 0 {
		d.Status = 503
	}
	x.rec.Local, x.rec.Status, x.rec.FirstByte = true, d.Status, x.now
	x.hold = false
	x.skipBody()
	x.up.freeOut()
	x.up.direct = 0
	x.down.freeOut()
	x.down.freeIn()
	x.down.reset()
	x.down.begin(smallBuffer)
	x.renderAnswer()
	x.headDone, x.down.done = true, true
	x.upBroken = true
	x.reusable = false
	x.phase = phaseActive
}

func (x *Exchange) renderAnswer() {
	d, out := &x.dec, x.down.out
	body := d.Body
	if body == nil && d.Header == nil && d.Status >= 400 {
		d.Header = plainText
		body = x.plainBody()
	}
	out = append(out, "HTTP/1.1 "...)
	out = appendUint(out, int64(d.Status))
	out = append(out, ' ')
	out = append(out, Reason(d.Status)...)
	out = append(out, "\r\n"...)
	out = append(out, d.Header...)
	out = append(out, d.AnswerFields...)
	if !bodyless(d.Status) {
		out = appendFraming(out, frameLength, int64(len(body)))
	}
	out = append(out, x.connection(frameLength)...)
	out = append(out, "\r\n"...)
	if !x.req.IsHead() && !bodyless(d.Status) {
		out = append(out, body...)
	}
	x.down.out = out
}

//nolint:gochecknoglobals // constant bytes
var plainText = []byte("Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n")

// plainBody is the answer's status in words, for handlers that give none.
func (x *Exchange) plainBody() []byte {
	b := appendUint(x.dec.Scratch, int64(x.dec.Status))
	b = append(b, ' ')
	b = append(b, Reason(x.dec.Status)...)
	return append(b, '\n')
}

// skipBody passes over a request body that nobody will read. Unless all of it is here, the connection cannot go on.
func (x *Exchange) skipBody() {
	f := &x.up
	if x.has && f.done { // sent or about to be: the client has nothing more to say
		f.r += f.direct
		return
	}
	if f.mode == bodyLength && int64(f.w-f.r) >= f.left && !f.pending() {
		f.r += int(f.left)
		f.left, f.done = 0, true
	}
	if !f.done {
		x.closing = true
	}
}

// finish ends a request: the next one, or the end of the connection.
func (x *Exchange) finish() {
	cause, fault := x.rec.Cause, x.rec.Fault
	x.record(cause, fault)
	f := &x.up
	if x.tunnel {
		x.phase = phaseClose
		return
	}
	if x.closing || x.draining || x.gone {
		x.closeAfter()
		return
	}
	f.base = 0
	if x.headBuf != nil {
		x.mem.Put(x.headBuf)
		x.headBuf = nil
	}
	eof := f.eof
	if f.r == f.w {
		f.freeIn()
	} else {
		n := copy(f.in, f.in[f.r:f.w])
		f.r, f.w = 0, n
		x.headSince = x.now
	}
	f.reset()
	f.eof = eof
	x.down.freeIn()
	x.down.reset()
	x.clear()
	x.phase = phaseHead
}

// closeAfter closes at once when the client has nothing more to say, else reads on for a little, so that the answer is not
// destroyed by a reset (RFC 9112, 9.6).
func (x *Exchange) closeAfter() {
	f := &x.up
	if f.eof || x.gone || f.done && f.r == f.w && x.can&ReadClient == 0 {
		x.phase = phaseClose
		return
	}
	x.phase, x.phaseSince = phaseLinger, x.now
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
