package exchange

import (
	"time"

	"portico/proxy/exchange/account"
	"portico/proxy/http1"
)

type timer uint8

const (
	timerNone timer = iota
	timerHeader
	timerParked
	timerConnect
	timerBody
	timerContinue
	timerWrite
	timerResponse
	timerTunnel
	timerLinger
)

// Deadline is when Timeout has something to do or a side is to be looked at, zero: never. It moves with every event; a driver asks after
// each, and calls Timeout when it has passed, after it has said what Asks wants to know.
func (x *Exchange) Deadline() int64 {
	at, what := x.timer()
	if at == 0 {
		return 0
	}
	end := at
	for s := Client; s <= Up; s++ {
		if what.watches(s) {
			if look := x.owed[s].next(x.quietSince(what), end); look != 0 {
				at = min(at, look)
			}
		}
	}
	return at
}

// Asks reports whether the driver is to say with Holds how much the system holds of what a side was sent.
func (x *Exchange) Asks(s Side) bool {
	at, what := x.timer()
	return at != 0 && what.watches(s) && x.Deadline() <= x.now
}

// Holds says that the system holds so many bytes for a side that the side has not acknowledged; below 0: it does not tell.
func (x *Exchange) Holds(s Side, bytes int) {
	_, what := x.timer()
	if !what.watches(s) {
		return
	}
	rate := 0
	if s == Client && what != timerTunnel {
		rate = x.conf.Timeouts.MinRate
	}
	if !x.owed[s].Look(x.now, max(bytes, 0), rate) {
		return
	}
	switch what {
	case timerWrite:
		x.writes.stop(x.now)
		x.writes.wait(x.now)
	case timerLinger:
		x.phaseSince = x.now
	default:
		x.upSince = x.now
	}
}

// watches reports whether a side that takes what the system holds for it puts a timer off.
func (t timer) watches(s Side) bool {
	switch t {
	case timerWrite, timerLinger:
		return s == Client
	case timerResponse:
		return s == Up
	case timerTunnel:
		return true
	default:
		return false
	}
}

// quietSince is when a timer that watches began to run.
func (x *Exchange) quietSince(t timer) int64 {
	switch t {
	case timerWrite:
		return x.writes.since
	case timerLinger:
		return x.phaseSince
	case timerTunnel:
		return max(x.upSince, x.rec.FirstByte)
	default:
		return x.upSince
	}
}

// Timeout acts on a deadline that has passed, if one has.
func (x *Exchange) Timeout() {
	at, what := x.timer()
	if at == 0 || x.now < at {
		return
	}
	x.step(account.StepTimeout, int(what))
	switch what {
	case timerHeader:
		x.blank()
		x.rec.Start = x.headSince
		x.refuse(http1.FaultHeaderTimeout)
	case timerParked:
		x.route()
	case timerConnect:
		x.ConnectFailed(account.CauseConnectTime)
	case timerContinue:
		x.proceed()
	case timerBody:
		x.badBody(http1.FaultBodyTimeout)
	case timerWrite, timerTunnel:
		x.clientLost()
	case timerResponse:
		if x.mayLeave() {
			x.clientLost()
			return
		}
		x.failed(Why{Cause: account.CauseTimeout})
	case timerLinger:
		x.phase = phaseClose
	case timerNone:
	}
}

func (x *Exchange) timer() (int64, timer) {
	t := &x.conf.Timeouts
	switch x.phase {
	case phaseHead:
		if x.up.w > x.up.r {
			return after(x.headSince, t.Header), timerHeader
		}
	case phaseParked:
		return x.phaseSince + int64(x.dec.ParkFor), timerParked
	case phaseConnect:
		return after(x.phaseSince, x.ConnectTime()), timerConnect
	case phaseLinger:
		return after(x.phaseSince, t.Linger), timerLinger
	case phaseActive:
		return x.activeTimer()
	case phaseClose, phaseAbort, phaseOver:
	}
	return 0, timerNone
}

// ConnectTime is how long the connection to the upstream of the present attempt may take.
func (x *Exchange) ConnectTime() time.Duration {
	if x.dec.Connect > 0 {
		return x.dec.Connect
	}
	return x.conf.Timeouts.Connect
}

func (x *Exchange) activeTimer() (int64, timer) {
	t := &x.conf.Timeouts
	if x.tunnel {
		silence := t.Tunnel
		if x.up.eof || x.down.eof {
			silence = t.Rest(silence)
		}
		return after(max(x.upSince, x.rec.FirstByte), silence), timerTunnel
	}
	if x.writable() {
		return x.writes.deadline(t.Write, t.Grace, t.MinRate), timerWrite
	}
	if !x.has {
		return 0, timerNone
	}
	if x.hold {
		return after(x.upSince, t.Continue), timerContinue
	}
	if at := x.reads.deadline(t.Body, t.Grace, t.MinRate); at != 0 {
		return at, timerBody
	}
	if x.talks() {
		return after(max(x.upSince, x.rec.FirstByte), t.Tunnel), timerResponse
	}
	if x.mayLeave() {
		return after(x.upSince, t.Rest(x.dec.Silence)), timerResponse
	}
	if x.headDone && x.dec.Silence != 0 {
		return after(x.upSince, x.dec.Silence), timerResponse
	}
	return after(x.upSince, t.Response), timerResponse
}

func after(since int64, d time.Duration) int64 {
	if d < 0 {
		return 0
	}
	return since + int64(d)
}
