package exchange

import (
	"portico/proxy/account"
	"portico/proxy/http1"
	"portico/proxy/wire"
)

// Space returns where to read bytes of a side into.
func (x *Exchange) Space(s Side) []byte {
	if s == Up {
		if !x.headDone && x.down.in != nil && x.down.w == len(x.down.in) && x.down.r == 0 {
			x.down.grow(2 * len(x.down.in))
		}
		b := x.down.space(bodyBuffer)
		return b[:min(len(b), x.client.portion())]
	}
	f := &x.up
	switch {
	case x.phase == phaseLinger:
		f.base, f.r, f.w = 0, 0, 0
		return f.space(smallBuffer)
	case x.phase == phaseHead:
		if f.in != nil && f.w == len(f.in) && f.r == 0 {
			f.grow(x.conf.Limits.Head + 1024)
		}
	case x.headBuf == nil && x.client.keeps(f):
		return f.in[f.w:]
	case x.headBuf == nil && f.in != nil && len(f.in)-f.base-(f.w-f.r) < bodyBuffer/2 && (f.left > int64(len(f.in)-f.base) || f.mode != bodyLength):
		// The head stays where it is; the rest of a larger body comes in a buffer of its own.
		x.headBuf = f.in
		b := x.mem.Get(bodyBuffer)
		n := copy(b, f.in[f.r:f.w])
		f.in, f.r, f.w, f.base, f.dirty = b, 0, n, 0, true
	case x.phase == phaseActive && f.in == nil && f.bulky():
		return f.space(bodyBuffer)
	}
	return f.space(smallBuffer)
}

// Read says that n bytes came into Space.
func (x *Exchange) Read(s Side, n int, res wire.Result) {
	if s == Up {
		x.readUpstream(n, res)
		return
	}
	if res == wire.Blocked {
		x.can &^= ReadClient
	}
	if x.phase == phaseLinger {
		x.lingered += n
		if res == wire.EOF || res == wire.Failed || x.lingered > 256<<10 {
			x.phase = phaseClose
		}
		return
	}
	f := &x.up
	x.got += int64(n)
	if n > 0 {
		if x.phase == phaseHead && f.r == f.w {
			x.headSince = x.now
		}
		f.w += n
		if x.phase == phaseActive {
			x.hold, x.unasked = false, false // the client does not wait
			x.reads.moved(x.now, n)
		}
	}
	if n == 0 && res == wire.Blocked && x.phase == phaseHead && f.r == f.w && f.base == 0 {
		f.freeIn()
	}
	if res == wire.EOF {
		f.eof = true
		x.can &^= ReadClient
		x.tunnelHalved()
		if f.mode == bodyClose {
			x.hold = false // it was the end of the body
		}
	}
	if res == wire.Failed {
		x.clientLost()
	}
}

// Unread says that the upstream's end, which Read tells next, came before anything of the request was read, be it sent: whoever relays to
// it has proved so. Any method may then go again.
func (x *Exchange) Unread() { x.unread = true }

func (x *Exchange) readUpstream(n int, res wire.Result) {
	if x.phase != phaseActive || !x.has || x.rec.Local {
		return // of a connection that has been given up
	}
	if res == wire.Blocked {
		x.can &^= ReadUpstream
	}
	if n > 0 {
		x.heard = true
		x.down.w += n
		x.upSince = x.now
		x.step(account.StepReadUpstream, n)
		if x.down.eof {
			return
		}
	}
	switch res {
	case wire.EOF:
		x.down.eof = true
		x.can &^= ReadUpstream
		x.tunnelHalved()
		x.upstreamEnded()
	case wire.Failed:
		if x.tunnel {
			x.cut(account.CauseUpstream, http1.NoFault)
			return
		}
		x.down.eof = true
		if x.headDone && x.down.mode == bodyClose {
			x.brokenUpstream() // only an orderly end completes it
			return
		}
		x.upstreamEnded()
	case wire.More, wire.Blocked:
	}
}

// tunnelHalved: the time that a tunnel's other side has for the rest begins with the end of the first one.
func (x *Exchange) tunnelHalved() {
	if x.tunnel {
		x.upSince = x.now
	}
}

// ClientEnded says that the client has ended its side, where no read says so because none is of use. It may still take its answer; but one
// that may be silent for long, as a stream of events, waits no longer for it than the rest of a tunnel does.
func (x *Exchange) ClientEnded() {
	if x.ended {
		return
	}
	x.ended = true
	if x.mayLeave() {
		x.upSince = x.now
	}
}

// mayLeave reports whether the client of an answer that may be silent for long has ended its side.
func (x *Exchange) mayLeave() bool { return x.ended && x.headDone && x.dec.Silence != 0 }

// upstreamEnded: what the end of the upstream's bytes means depends on how the answer is framed.
func (x *Exchange) upstreamEnded() {
	if x.tunnel {
		return
	}
	if !x.advance() {
		return
	}
	if x.down.done {
		return
	}
	if x.headDone && x.down.mode == bodyClose {
		return
	}
	if x.headDone && x.down.pending() && x.canComplete() {
		return
	}
	x.brokenUpstream()
}

// canComplete reports whether the rest of the answer is already buffered behind output that is still to be written.
func (x *Exchange) canComplete() bool {
	f := &x.down
	rest := f.w - f.r - f.direct
	switch f.mode {
	case bodyLength:
		return int64(rest) >= f.left
	case bodyChunked:
		probe := f.chunk
		in := f.in[f.r+f.direct : f.w]
		for len(in) > 0 && !probe.Done() {
			skip, n, _, fault := probe.Next(in, &x.conf.Limits)
			if fault != http1.NoFault || skip+n == 0 {
				break
			}
			in = in[skip+n:]
		}
		return probe.Done()
	case bodyNone, bodyClose, bodyTunnel:
	}
	return true
}

// brokenUpstream: the connection ended or broke before the answer was complete.
func (x *Exchange) brokenUpstream() {
	switch {
	case x.given:
		x.givenUp()
		return
	case x.garbled:
		x.failed(Why{Cause: account.CauseResponse, Fault: http1.FaultMalformed})
		return
	}
	if x.headDone {
		x.cut(account.CauseUpstream, http1.NoFault)
		return
	}
	if x.mine && !x.heard {
		x.Lost()
		return
	}
	stale := x.reused && !x.heard && !x.dec.Upstream.Killed() && !x.dec.Upstream.Left()
	why := Why{Cause: account.CauseUpstream, Retry: x.mayRepeat() && !x.heard}
	refused := x.shares && x.unread && x.rec.Attempts < x.attempts()
	if why.Retry && (stale || refused) {
		// It was closed while idle, or goes in order: the same upstream, a new connection, and not counted as a failure of its.
		x.fresh = true
		x.rewind()
		if stale {
			x.rec.Attempts--
		}
		x.connect()
		return
	}
	x.failed(why)
}

// mayRepeat reports whether the request may be sent once more (RFC 9110, 9.2.2): nothing was sent, or the method is idempotent and the
// whole of it is still here, as it must be where nothing of it was read.
func (x *Exchange) mayRepeat() bool {
	if x.noRetry || x.headDone || x.mine {
		return false
	}
	return !x.sentUp || (x.req.Idempotent() || x.unread && !x.heard) && !x.up.dirty && x.headBuf == nil
}

// mayRepeatLater reports whether the request can still go again once it has been sent. A client sends its first request again by itself
// for no reason, so one that cannot is not risked on a connection that may be about to end.
func (x *Exchange) mayRepeatLater() bool {
	return x.req.Idempotent() && !x.req.Chunked && x.req.Length <= smallBuffer/2
}

// rewind makes the request's body start over. Interim answers that wait to be written stay: a part of them may be out.
func (x *Exchange) rewind() {
	x.up.freeOut()
	x.up.direct, x.up.piped = 0, 0
	x.up.r = x.up.base
	x.up.chunk = http1.Chunked{}
	x.up.bytes = 0
	x.upBroken = false
	x.rec.Sent = 0
	x.frameRequest()
	x.down.freeIn()
	x.down.reset()
	x.hold = false
}

// Wrote says that n bytes of Pending were written.
func (x *Exchange) Wrote(s Side, n int, res wire.Result) {
	if s == Up {
		x.wroteUpstream(n, res)
		return
	}
	last := x.Ends(Client)
	x.down.wrote(n)
	x.rec.BytesOut += int64(n)
	if n > 0 {
		x.writes.moved(x.now, n)
		x.owed[Client].Forget()
	}
	if !x.down.pending() {
		x.upSince = x.now // until now it waited for the client
	}
	if last && !x.down.pending() && (n > 0 || res == wire.More) {
		x.endOwed = false
	}
	if res == wire.Blocked {
		x.can &^= WriteClient
		if x.writable() {
			x.writes.wait(x.now)
		}
	}
	if res == wire.Failed || res == wire.EOF {
		x.clientLost()
	}
}

func (x *Exchange) wroteUpstream(n int, res wire.Result) {
	if x.phase != phaseActive || !x.has || x.rec.Local {
		return // of a connection that has been given up
	}
	ends := x.Ends(Up)
	if n > 0 {
		x.sentUp = true
		x.up.wrote(n)
		x.upSince = x.now
		x.owed[Up].Forget()
		x.step(account.StepWriteUpstream, n)
	}
	if res == wire.More && x.owesEnd() && !x.up.pending() && (ends || n == 0) {
		x.endUp = false
		x.up.freeTail()
	}
	if res == wire.Blocked {
		x.can &^= WriteUpstream
	}
	if res == wire.Failed || res == wire.EOF {
		// An answer may have been sent before the upstream stopped reading: look for it, send no more.
		if x.tunnel {
			x.cut(account.CauseUpstream, http1.NoFault)
			return
		}
		x.upBroken, x.endUp = true, false
		x.up.freeOut()
		x.up.r += x.up.direct // passed over, or it would be the next request
		x.up.direct = 0
		x.can |= ReadUpstream
	}
}

// Took says that a side has taken bytes which Wrote told of before: a driver that encrypts holds some back until there is room.
func (x *Exchange) Took(s Side) {
	x.owed[s].Forget()
	if s == Up {
		x.upSince = x.now
		return
	}
	x.writes.stop(x.now)
	if x.writable() {
		x.writes.wait(x.now)
	}
}

// Pending returns what to write to a side: head first, then body.
func (x *Exchange) Pending(s Side) (head, body []byte) {
	if s == Up {
		return x.up.slices()
	}
	return x.down.slices()
}

// ClientGone says that the client's connection was reset; an end of its bytes is reported by Read.
func (x *Exchange) ClientGone() { x.clientLost() }

func (x *Exchange) clientLost() {
	x.gone = true
	switch x.phase {
	case phaseOver, phaseAbort, phaseClose:
		return
	case phaseHead, phaseLinger:
		x.phase = phaseClose
		return
	case phaseParked, phaseConnect, phaseActive:
	}
	if x.tunnel {
		x.record(account.CauseNone, http1.NoFault)
	} else {
		x.record(account.CauseClient, http1.NoFault)
	}
	x.phase, x.why = phaseAbort, account.CauseClient
}

// Abandon ends the exchange because the driver stops.
func (x *Exchange) Abandon() {
	if x.phase == phaseOver {
		return
	}
	x.record(account.CauseShutdown, http1.NoFault)
	x.phase, x.why = phaseAbort, account.CauseShutdown
}

// Stays reports whether the request goes on to wait for its upstream when that is left.
func (x *Exchange) Stays() bool { return x.dec.Stays || x.headDone }

// Revoke says that the upstream of the present attempt is not trusted any more: not one more byte goes to it or comes from it.
func (x *Exchange) Revoke() {
	switch {
	case x.Connecting():
		x.ConnectFailed(account.CauseConnect)
	case x.phase != phaseActive || !x.has || x.rec.Local: // it is being let go
	case x.headDone:
		x.cut(account.CauseUpstream, http1.NoFault)
	default:
		x.failed(Why{Cause: account.CauseUpstream, Retry: x.mayRepeat() && !x.heard})
	}
}

// cut ends an answer in the middle. A client that counts sees what is missing, and gets all that was sent, also of the answers
// before it. Without a length a reset is all that tells the client; and who takes too long has nothing kept for it.
func (x *Exchange) cut(cause account.Cause, fault http1.Fault) {
	x.step(account.StepFail, int(cause))
	x.record(cause, fault)
	if x.tunnel || cause == account.CauseClient || x.client.resets(x) {
		x.phase, x.why = phaseAbort, cause
		return
	}
	x.client.leave(x)
}

// record reports the request as finished, once.
func (x *Exchange) record(cause account.Cause, fault http1.Fault) {
	if !x.routed {
		return
	}
	x.routed = false
	x.rec.Cause, x.rec.Fault, x.rec.End = cause, fault, x.now
	x.rec.BytesIn = x.received()
	x.step(account.StepFinish, int(cause))
	x.conf.Handler.Finished(&x.req, &x.peer, &x.dec)
}

// received is how many bytes the request took, with its head: all that came since the request before, but what the next one has begun
// with.
func (x *Exchange) received() int64 {
	next := int64(0)
	if f := &x.up; f.done && !x.closing && !x.gone && !x.tunnel {
		next = int64(f.w - f.r - f.direct)
	}
	n := x.got - next
	x.got = next
	return n
}
