package http1

import "time"

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

// Deadline is when Timeout has something to do, zero: never. It moves with every event; a driver asks after each.
func (x *Exchange) Deadline() int64 {
	at, _ := x.timer()
	return at
}

// Timeout acts on a deadline that has passed, if one has.
func (x *Exchange) Timeout() {
	at, what := x.timer()
	if at == 0 || x.now < at {
		return
	}
	x.step(StepTimeout, int(what))
	switch what {
	case timerHeader:
		x.blank()
		x.rec.Start = x.headSince
		x.refuse(FaultHeaderTimeout)
	case timerParked:
		x.route()
	case timerConnect:
		x.ConnectFailed(CauseConnectTime)
	case timerContinue:
		x.proceed()
	case timerBody:
		x.badBody(FaultBodyTimeout)
	case timerWrite, timerTunnel:
		x.clientLost()
	case timerResponse:
		x.failed(Why{Cause: CauseTimeout})
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
		return after(x.phaseSince, t.Connect), timerConnect
	case phaseLinger:
		return after(x.phaseSince, t.Linger), timerLinger
	case phaseActive:
		return x.activeTimer()
	case phaseHandover, phaseClose, phaseAbort, phaseOver:
	}
	return 0, timerNone
}

func (x *Exchange) activeTimer() (int64, timer) {
	t := &x.conf.Timeouts
	if x.tunnel {
		return after(max(x.upSince, x.rec.FirstByte), t.Tunnel), timerTunnel
	}
	if x.down.pending() {
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
