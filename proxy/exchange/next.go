package exchange

import (
	"portico/proxy/exchange/account"
	"portico/proxy/http1"
)

// Next returns what to do. It returns OpWait or OpIdle when nothing can be done before an event, and every time again.
func (x *Exchange) Next() Op {
	for {
		switch x.phase {
		case phaseHead:
			if op, ok := x.nextHead(); ok {
				return op
			}
		case phaseParked:
			if x.has {
				x.has = false
				return OpDropUpstream
			}
			return OpWait
		case phaseConnect:
			if x.has {
				x.has = false
				return OpDropUpstream
			}
			if x.connecting {
				return OpWait
			}
			x.connecting = true
			return OpConnect
		case phaseActive:
			if op, ok := x.nextActive(); ok {
				return op
			}
		case phaseLinger:
			if x.has {
				x.has = false
				return OpDropUpstream
			}
			return x.nextLinger()
		case phaseClose, phaseAbort:
			if x.has {
				x.has = false
				return OpDropUpstream
			}
			if x.phase == phaseAbort {
				x.phase = phaseOver
				return OpAbort
			}
			x.phase = phaseOver
			return OpClose
		case phaseOver:
			return OpWait
		}
	}
}

// nextActive moves an exchange on. The second result is false when the phase changed.
func (x *Exchange) nextActive() (Op, bool) {
	if !x.advance() {
		return 0, false
	}
	if x.up.eof && x.has && !x.up.done && !x.up.pending() && !x.upBroken && !x.tunnel {
		if !x.unasked {
			x.clientLost() // its end came before the end of its body
			return 0, false
		}
		x.upBroken = true // it keeps its body, as it may, and reads the answer
	}
	if op := x.settleUpstream(); op != OpWait {
		return op, true
	}
	if len(x.down.tail) > 0 && x.endOwed && x.down.done && !x.down.pending() {
		x.client.trailers(x)
	}
	switch {
	case x.writable() && x.can&WriteClient != 0:
		x.writes.wait(x.now)
		if x.down.piped > 0 {
			return OpSpliceDown, true
		}
		return OpWriteClient, true
	case x.has && !x.upBroken && (x.up.pending() || x.owesEnd()) && x.can&WriteUpstream != 0:
		if x.up.piped > 0 {
			return OpSpliceUp, true
		}
		return OpWriteUpstream, true
	}
	if op := x.halfClose(); op != OpWait {
		return op, true
	}
	if x.finished() {
		if x.streaming {
			return OpWait, true
		}
		x.finish()
		return 0, false
	}
	if x.wantUpstream() && x.can&ReadUpstream != 0 {
		if x.spliceable(&x.down, ReadUpstream) {
			return OpSpliceDown, true
		}
		return OpReadUpstream, true
	}
	if x.wantClient() {
		switch {
		case x.unasked:
		case x.talks():
			x.reads.stop(x.now)
		default:
			x.reads.wait(x.now)
		}
		if x.can&ReadClient != 0 {
			if x.spliceable(&x.up, WriteUpstream) {
				return OpSpliceUp, true
			}
			return OpReadClient, true
		}
	} else {
		x.reads.stop(x.now)
	}
	if x.writable() {
		x.writes.wait(x.now)
	}
	return OpWait, true
}

// writable reports whether there is something to write to the client, be it the end alone.
func (x *Exchange) writable() bool { return x.down.pending() || x.endOwed && x.down.done }

// advance decodes what was read; it reports false when that ended the phase.
func (x *Exchange) advance() bool {
	if x.has && !x.upBroken && !x.hold {
		before := x.up.bytes
		if fault := x.up.advance(&x.conf.Limits); fault != http1.NoFault {
			x.badBody(fault)
			return false
		}
		if before != x.up.bytes && x.tooLarge() {
			x.badBody(http1.FaultBodyLarge)
			return false
		}
		if x.up.done && !x.up.pending() && x.rec.Sent == 0 {
			x.rec.Sent, x.upSince = x.now, x.now
		}
	}
	for x.has && !x.headDone && x.down.w > x.down.r {
		if again := x.answerHead(); !again {
			break
		}
		if x.phase != phaseActive {
			return false
		}
	}
	if x.phase != phaseActive {
		return false
	}
	if x.headDone {
		if fault := x.down.advance(&x.conf.Limits); fault != http1.NoFault {
			x.cut(account.CauseResponse, fault)
			return false
		}
	}
	return true
}

// settleUpstream lets go of the upstream as soon as the answer was read, so that a slow client does not hold it.
func (x *Exchange) settleUpstream() Op {
	if !x.has || x.tunnel || !x.down.done || x.down.piped > 0 {
		return OpWait
	}
	x.has = false
	if x.shares {
		x.unbind()
		x.step(account.StepRelease, 0)
		return OpReleaseUpstream
	}
	if x.reusable && x.up.done && !x.up.pending() && !x.upBroken && x.down.r+x.down.direct == x.down.w && !x.down.eof &&
		!x.dec.Upstream.Retired() {
		x.step(account.StepRelease, 0)
		if x.bound {
			x.Own(x.dec.Upstream)
			return OpKeepUpstream
		}
		return OpReleaseUpstream
	}
	x.unbind()
	x.step(account.StepDrop, 0)
	return OpDropUpstream
}

// halfClose passes the end of one side of a tunnel on.
func (x *Exchange) halfClose() Op {
	if !x.tunnel {
		return OpWait
	}
	if x.up.done && !x.up.pending() && !x.up.shut {
		x.up.shut = true
		return OpShutUpstream
	}
	if x.down.done && !x.down.pending() && !x.down.shut {
		x.down.shut = true
		return OpShutClient
	}
	return OpWait
}

func (x *Exchange) finished() bool {
	if x.tunnel {
		return x.up.shut && x.down.shut
	}
	return x.headDone && x.down.done && !x.down.pending() && !x.endOwed
}

// wantUpstream reports whether bytes from the upstream are of use now.
func (x *Exchange) wantUpstream() bool {
	return x.has && !x.down.done && !x.down.eof && !x.down.pending()
}

// wantClient reports whether bytes from the client are of use now: body, or a tunnel's.
func (x *Exchange) wantClient() bool {
	return x.has && !x.up.done && !x.up.eof && !x.up.pending() && !x.upBroken
}

// Reads says from which sides bytes would be read at once if they were there, which a driver that has them already may give.
func (x *Exchange) Reads() Ready {
	switch x.phase {
	case phaseHead:
		return ReadClient
	case phaseActive:
		var r Ready
		if x.wantUpstream() && !x.spliceable(&x.down, ReadUpstream) {
			r |= ReadUpstream
		}
		if x.wantClient() && !x.spliceable(&x.up, WriteUpstream) {
			r |= ReadClient
		}
		return r
	case phaseParked, phaseConnect, phaseLinger, phaseClose, phaseAbort, phaseOver:
	}
	return 0
}

// Idle reports whether the exchange is between requests with nothing buffered.
func (x *Exchange) Idle() bool {
	return x.phase == phaseHead && x.up.r == x.up.w && !x.up.eof && !x.draining && !x.gone
}

// LastWrite reports whether the last bytes of the request are on their way and no answer has come.
func (x *Exchange) LastWrite() bool {
	return x.phase == phaseActive && !x.headDone && x.up.done && x.up.pending()
}

// tooLarge reports whether the request has more of a body than the site takes. Who talks with an upstream that answers already may go on.
func (x *Exchange) tooLarge() bool {
	return x.dec.MaxBody > 0 && x.up.bytes > x.dec.MaxBody && !x.tunnel && !(x.shares && x.headDone)
}
