package exchange

import (
	"strconv"

	"portico/proxy/exchange/account"
	"portico/proxy/http1"
)

// answerHead parses one response head and renders it. It reports whether there may be another one behind it, and changes the
// phase when the head is not acceptable.
func (x *Exchange) answerHead() bool {
	f := &x.down
	end, fault := x.responseHead()
	if end == 0 && fault == http1.NoFault {
		return false
	}
	if fault == http1.NoFault {
		f.r += end
		f.scan = 0
		switch {
		case x.resp.Status == 101:
			fault = x.switchProtocols()
		case x.resp.Status < 200:
			return x.interimHead()
		default:
			if x.resp.Status < 300 && x.req.Upgrades() && !x.client.alone() {
				fault = http1.FaultUnswitched
			} else if x.resp.Chunked && !x.req.IsHead() && !http1.Bodyless(x.resp.Status) {
				fault = http1.ChunkFault(f.in[f.r:f.w], &x.conf.Limits) // while it can still be told
			}
			if fault == http1.NoFault {
				x.finalHead()
			}
		}
	}
	if fault != http1.NoFault {
		x.failed(Why{Cause: account.CauseResponse, Fault: fault})
	}
	return false
}

// responseHead is head for the upstream's side.
func (x *Exchange) responseHead() (int, http1.Fault) {
	f, lim := &x.down, &x.conf.Limits
	b := f.in[f.r:f.w]
	if f.scan == 0 && len(b) > 0 {
		if end, fault := http1.TryResponse(&x.resp, b, lim); fault == http1.NoFault && end <= lim.ResponseHead {
			return end, http1.NoFault
		}
	}
	end, next, fault := http1.ScanHead(b, f.scan)
	f.scan = next
	switch {
	case fault != http1.NoFault:
	case end > lim.ResponseHead, end == 0 && len(b) >= lim.ResponseHead:
		fault = http1.FaultHeadLong
	case end == 0:
	default:
		fault = http1.ParseResponse(&x.resp, b[:end], lim)
	}
	return end, fault
}

// interimHead passes a 1xx answer on and reports that the final one is still to come.
func (x *Exchange) interimHead() bool {
	x.step(account.StepInterim, x.resp.Status)
	if x.interim++; x.interim > x.conf.Limits.Interim {
		x.failed(Why{Cause: account.CauseResponse, Fault: http1.FaultInterim})
		return false
	}
	if x.resp.Status == 100 {
		if x.hold {
			x.proceed()
		}
		return true
	}
	if x.req.Minor == 1 {
		x.resp.Bar(x.dec.BarCookie)
		x.client.interim(x, x.conf.Handler.Hinted(&x.req, &x.resp, &x.dec))
	}
	return true
}

// proceed lets a client that waits for 100 Continue send its body.
func (x *Exchange) proceed() {
	x.hold, x.asked = false, true
	x.client.proceed(x)
}

// switchProtocols turns the exchange into a tunnel if the client asked for just this protocol.
func (x *Exchange) switchProtocols() http1.Fault {
	if x.upgrade == nil || !x.resp.Upgrades() || !http1.EqualFold(x.resp.UpgradeTo(), x.upgrade) {
		x.closing = true // the client may speak the other protocol already
		return http1.FaultSwitch
	}
	if http1.FoldsTo(x.upgrade, "websocket") && !http1.Accepts(x.req.Get("sec-websocket-key"), x.resp.Get("sec-websocket-accept")) {
		x.closing = true
		return http1.FaultAccept
	}
	x.step(account.StepUpgrade, 101)
	x.conf.Handler.Answered(&x.req, &x.resp, &x.dec)
	x.rec.Status, x.rec.FirstByte = 101, x.now
	x.resp.Bar(x.dec.BarCookie)
	x.client.switched(x)
	x.headDone, x.tunnel, x.closing = true, true, true
	x.up.mode, x.up.done = bodyTunnel, false
	x.down.mode, x.down.done = bodyTunnel, false
	return http1.NoFault
}

// finalHead renders the head of the final answer.
func (x *Exchange) finalHead() {
	r := &x.resp
	x.step(account.StepHead, r.Status)
	x.conf.Handler.Answered(&x.req, r, &x.dec)
	mode, frame, length := x.answerFraming()
	x.reusable = r.KeepAlive && mode != bodyClose
	x.bound = x.bound || r.Binds()
	if x.keep = r.KeepFor(x.dec.Upstream.IdleTime()); x.keep <= 0 && !x.bound || x.bound && !x.client.alone() {
		x.reusable = false
	}
	if !x.reusable {
		x.unbind()
	}
	if !x.up.done || x.up.pending() {
		x.closing = true // an early answer: what follows from the client might be body
	}
	x.rec.Status, x.rec.FirstByte = r.Status, x.now
	r.Bar(x.dec.BarCookie)
	x.client.final(x, frame, length)
	x.headDone = true
	if x.hold { // the time for 100 Continue is over (RFC 9110, 10.1.1)
		x.hold, x.unasked, x.reads = false, true, pace{}
	}
	if x.req.IsHead() || http1.Bodyless(r.Status) {
		mode, length = bodyNone, 0
	}
	x.down.start(mode, length, frame)
	if !x.trails() {
		x.down.freeTail()
	}
	if x.down.eof && mode == bodyClose && x.down.r == x.down.w && frame == http1.FrameClose {
		x.down.done = true
	}
}

// answerFraming settles how the body is read and how it is sent on (RFC 9112, 6.3).
func (x *Exchange) answerFraming() (bodyMode, http1.Framing, int64) {
	r := &x.resp
	switch {
	case r.Status == 204:
		return bodyNone, http1.FrameNone, 0
	case x.req.IsHead() || r.Status == 304:
		if r.Length >= 0 {
			return bodyNone, http1.FrameLength, r.Length
		}
		return bodyNone, http1.FrameNone, 0
	case x.shares:
		return x.streamFraming()
	case r.Chunked:
		return bodyChunked, x.client.unbounded(x), 0
	case r.Length >= 0:
		return bodyLength, http1.FrameLength, r.Length
	}
	return bodyClose, x.client.unbounded(x), 0
}

// refuse answers a request that is not acceptable and closes the connection: where the next one begins is not known.
func (x *Exchange) refuse(fault http1.Fault) {
	x.step(account.StepRefuse, int(fault))
	x.rec.Fault = fault
	x.closing = true
	x.give(Why{Cause: account.CauseRequest, Fault: fault}, fault.Status())
}

// badBody ends a request whose body is malformed or too large. The upstream sees no end of it.
func (x *Exchange) badBody(fault http1.Fault) {
	if x.headDone {
		x.cut(account.CauseRequest, fault)
		return
	}
	x.refuse(fault)
}

// failed gives the handler the choice between another upstream and an answer.
func (x *Exchange) failed(why Why) {
	x.step(account.StepFail, int(why.Cause))
	if x.headDone {
		x.cut(why.Cause, why.Fault)
		return
	}
	why.Retry = why.Retry && x.mayRepeat() && x.rec.Attempts < x.attempts()
	x.give(why, statusOf(why))
}

// attempts is how often a request may be tried.
func (x *Exchange) attempts() int {
	if x.dec.Attempts == 0 {
		return 3
	}
	return x.dec.Attempts
}

func statusOf(why Why) int {
	switch why.Cause {
	case account.CauseConnectTime, account.CauseTimeout:
		return 504
	case account.CauseBusy, account.CauseShutdown:
		return 503
	case account.CauseNone, account.CauseRequest, account.CauseResponse, account.CauseConnect, account.CauseUpstream, account.CauseClient, account.CauseBound, account.CauseReset:
	}
	return 502
}

// give asks the handler what to do about a failure and does it.
func (x *Exchange) give(why Why, status int) {
	before := x.dec.Upstream
	x.peer.Now, x.rec.End = x.now, x.now
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

// answer gives the decision's own answer, behind the interim ones that still wait to be written: a part of them may be out. An upstream
// that is still attached is dropped.
func (x *Exchange) answer() {
	d := &x.dec
	if d.Status == 0 {
		d.Status = 503
	}
	x.rec.Local, x.rec.Status, x.rec.FirstByte = true, d.Status, x.now
	x.hold = false
	x.unbind()
	x.skipBody()
	x.up.freeOut()
	x.up.direct, x.up.piped = 0, 0
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
	d := &x.dec
	body := d.Body
	if body == nil && d.Header == nil && d.Status >= 400 {
		d.Header = plainText
		body = x.plainBody()
	}
	x.client.local(x, body)
}

var plainText = []byte("Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n")

// plainBody is the answer's status in words, for handlers that give none.
func (x *Exchange) plainBody() []byte {
	b := strconv.AppendInt(x.dec.Scratch, int64(x.dec.Status), 10)
	b = append(b, ' ')
	b = append(b, http1.Reason(x.dec.Status)...)
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
		x.client.leave(x)
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
	x.served = true
	x.phase = phaseHead
}
