package exchange

import (
	"portico/proxy/exchange/account"
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
