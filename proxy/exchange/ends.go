package exchange

import (
	"portico/proxy/exchange/account"
	"portico/proxy/http1"
)

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
