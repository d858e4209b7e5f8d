package exchange

import (
	"portico/proxy/exchange/account"
	"portico/proxy/http1"
)

// nextHead reads and parses a request head. The second result is false when the phase changed.
func (x *Exchange) nextHead() (Op, bool) {
	f := &x.up
	if f.w > f.r && x.parse() {
		return 0, false
	}
	switch {
	case f.eof || x.gone:
		x.phase = phaseClose
		return 0, false
	case x.can&ReadClient != 0:
		return OpReadClient, true
	case f.w > f.r:
		return OpWait, true
	case x.draining:
		x.phase = phaseClose
		return 0, false
	}
	return OpIdle, true
}

// parse tries to find a request in what was read; it reports whether the phase changed.
func (x *Exchange) parse() bool {
	f := &x.up
	if !x.skipEmptyLine() {
		return false
	}
	n := f.w - f.r
	end, fault := x.head()
	if end == 0 && fault == http1.NoFault {
		return false
	}
	if !x.client.understood(x) && fault == http1.NoFault {
		x.routed = false
		return false
	}
	x.step(account.StepRead, n)
	if fault != http1.NoFault {
		x.refuse(fault)
		return true
	}
	f.r += end
	f.base = f.r
	x.crlfs = 0
	x.route()
	return true
}

// head finds and parses the head in what was read; it returns its length, zero while it is incomplete. Nearly always the whole head
// came at once, and one pass over it is enough. Whatever that pass does not accept is looked at again from the start, so that there is
// one rule for what is refused and how.
func (x *Exchange) head() (int, http1.Fault) {
	f, lim := &x.up, &x.conf.Limits
	b := f.in[f.r:f.w]
	if f.scan == 0 && len(b) <= lim.Head {
		if end, fault := http1.TryRequest(&x.req, b, lim); fault == http1.NoFault {
			x.rec.Start, x.routed = x.headSince, true
			return end, http1.NoFault
		}
	}
	end, next, fault := http1.ScanHead(b, f.scan)
	f.scan = next
	switch {
	case fault != http1.NoFault:
	case end == 0 && next == 0 && len(b) > lim.Line:
		fault = http1.FaultLineLong
	case end > lim.Head, end == 0 && len(b) >= lim.Head:
		fault = http1.FaultHeadLong
	case end == 0:
		return 0, http1.NoFault
	}
	x.rec.Start = x.headSince
	if fault == http1.NoFault {
		fault = http1.ParseRequest(&x.req, b[:end], lim)
		x.routed = true
	} else {
		x.blank()
	}
	return end, fault
}

// blank makes an empty request for the record of one that could not be parsed.
func (x *Exchange) blank() {
	fields := x.req.Fields[:0]
	x.req = http1.Request{}
	x.req.Fields, x.req.Length, x.req.Major = fields, -1, 1
	_ = x.client.understood(x)
	x.routed = true
}

// skipEmptyLine drops one empty line before a request, which RFC 9112, 2.2 asks servers to tolerate, and reports whether there is
// something to parse.
func (x *Exchange) skipEmptyLine() bool {
	f := &x.up
	for f.w-f.r >= 2 && x.crlfs < 1 && f.in[f.r] == '\r' && f.in[f.r+1] == '\n' {
		f.r += 2
		f.scan = 0
		x.crlfs++
	}
	return f.w > f.r && (f.in[f.r] != '\r' || f.w-f.r >= 2)
}

// route asks the handler where the request goes.
func (x *Exchange) route() {
	parked := x.dec.Parked
	x.dec.reset()
	x.dec.Parked = parked
	x.dec.Wake = x.wake
	x.dec.Client = x.peer.Text
	x.dec.HTTPS = x.peer.HTTPS
	x.rec.Routed, x.peer.Now = x.now, x.now
	if x.rec.Start == 0 {
		x.rec.Start = x.now
	}
	x.conf.Handler.Route(&x.req, &x.peer, &x.dec)
	x.step(account.StepRoute, int(x.dec.Verdict))
	if x.dec.Verdict == Park {
		x.dec.Parked++
		x.phase, x.phaseSince = phaseParked, x.now
		return
	}
	x.dec.Parked = 0
	x.frameRequest()
	x.follow()
}

// frameRequest prepares the body's way.
func (x *Exchange) frameRequest() {
	r := &x.req
	switch {
	case r.Chunked:
		x.up.start(x.client.upload(), 0, http1.FrameChunked)
	case r.Length > 0:
		x.up.start(bodyLength, r.Length, http1.FrameLength)
	default:
		x.up.start(bodyNone, 0, r.Framing())
	}
}
