package exchange

import (
	"net/netip"
	"time"

	"portico/proxy/http1"
	"portico/proxy/wire"
)

const keptSteps = 24

// Exchange serves the requests of one client connection, one at a time and in order. It is a state machine: events come in through
// its methods, [Exchange.Next] says what to do. All times are nanoseconds of a clock that the driver chooses. An Exchange is not safe
// for concurrent use; between requests it can be released and used for another connection.
type Exchange struct {
	conf *Config
	mem  wire.Memory
	peer Peer
	wake func()
	text [64]byte // of peer.Text
	now  int64

	client client
	stream streamClient // client, where it is one

	phase phase
	can   Ready
	req   http1.Request
	resp  http1.Response
	dec   Decision
	rec   Record
	up    flow // client to upstream
	down  flow // upstream to client

	headBuf []byte // the buffer that req aliases, when up.in is another one
	routed  bool   // req is valid and Finished is owed

	connecting bool // OpConnect was returned
	fresh      bool // only a new connection will do
	has        bool // a connection to the upstream is attached
	reused     bool
	mine       bool // the connection belonged to this client alone before this request
	bound      bool // it does now
	sentUp     bool // some byte of this attempt went to the upstream
	heard      bool // some byte of this attempt came back
	unread     bool // nothing of this attempt was read, see Unread
	headDone   bool // the final head was rendered for the client
	upBroken   bool // the upstream takes no more of the request
	reusable   bool // the answer allows another request on its connection
	served     bool // the client's connection has had an answer before
	hold       bool // the body waits for 100 Continue
	asked      bool // 100 Continue was said: not a second time
	unasked    bool // the final head came instead of it: the client may keep its body
	closing    bool // the connection closes after this answer
	endOwed    bool // the client is still to be told where the answer ends
	draining   bool
	gone       bool // the client's connection is known to be dead
	noRetry    bool // see Streaming
	streaming  bool // between Streaming and Settled
	splice     Ready
	interim    int
	crlfs      int
	upgrade    []byte
	tunnel     bool
	why        Cause // of OpAbort

	keep       time.Duration // how long the upstream connection may wait for its next request
	got        int64         // bytes from the client that no record has told yet
	headSince  int64
	phaseSince int64
	reads      pace // waiting for the client to send
	writes     pace // waiting for the client to take
	upSince    int64
	owed       [2]Owed // by side
	lingered   int
	steps      [keptSteps]Step
	own        [MaxOwn]*Upstream // peer.Own
}

// Begin makes x serve a connection. It takes writing to be possible; Allow says when reading is.
func (x *Exchange) Begin(conf *Config, mem wire.Memory, addr, local netip.AddrPort, https bool, serverName string, listener int, now int64) {
	x.conf, x.mem, x.now = conf, mem, now
	x.up.mem, x.down.mem = mem, mem
	x.client = http1Client{}
	if p := &x.peer; p.Text == nil || p.Addr.Addr() != addr.Addr() {
		p.Text = addr.Addr().Unmap().WithZone("").AppendTo(x.text[:0])
	}
	x.peer.Addr, x.peer.Local, x.peer.HTTPS, x.peer.ServerName, x.peer.Listener = addr, local, https, serverName, listener
	x.phase, x.can, x.splice = phaseHead, WriteClient, 0
	x.draining, x.gone, x.routed, x.has, x.tunnel, x.noRetry, x.streaming = false, false, false, false, false, false, false
	x.up.shared, x.down.shared = false, false
	x.crlfs, x.served = 0, false
	x.peer.Own = x.own[:0]
	x.up.reset()
	x.down.reset()
	x.headSince, x.got = 0, 0
	x.clear()
}

// clear forgets one request.
func (x *Exchange) clear() {
	x.connecting, x.fresh, x.reused, x.sentUp, x.heard, x.unread, x.headDone = false, false, false, false, false, false, false
	x.noRetry, x.mine, x.bound = false, false, false
	x.upBroken, x.reusable, x.closing, x.endOwed, x.interim, x.upgrade = false, false, false, false, 0, nil
	x.why = CauseNone
	x.hold, x.asked, x.unasked = false, false, false
	x.reads, x.writes, x.upSince = pace{}, pace{}, 0
	x.owed[Client].Forget()
	x.owed[Up].Forget()
	x.rec = Record{}
	x.rec.Steps = x.steps[:0]
}

// Release gives all buffers back. The exchange may then Begin anew, also after OpClose and OpAbort.
func (x *Exchange) Release() {
	x.up.base = 0
	x.up.freeIn()
	x.up.freeOut()
	x.up.freeTail()
	x.down.freeIn()
	x.down.freeOut()
	x.down.freeTail()
	x.stream.sink = nil
	if x.headBuf != nil {
		x.mem.Put(x.headBuf)
		x.headBuf = nil
	}
	x.dec.reset()
	x.own, x.peer.Own = [MaxOwn]*Upstream{}, nil
	x.resp.Forget()
	x.req.Forget()
}

// Served says that the client's connection has had an answer before Begin.
func (x *Exchange) Served() { x.served = true }

// HasServed reports whether the client's connection has had an answer.
func (x *Exchange) HasServed() bool { return x.served }

// KeepFor is how long the connection of OpReleaseUpstream may wait for its next request.
func (x *Exchange) KeepFor() time.Duration { return x.keep }

// Allow says that operations would no longer block.
func (x *Exchange) Allow(r Ready) { x.can |= r }

// Only replaces what is possible: for a driver that blocks, and asks on behalf of one direction at a time.
func (x *Exchange) Only(r Ready) { x.can = r }

// Active reports whether a request is being served, or its tunnel.
func (x *Exchange) Active() bool { return x.phase == phaseActive }

// Parked reports whether the request waits for its turn.
func (x *Exchange) Parked() bool { return x.phase == phaseParked }

// Waker sets what Decision.Wake is, for good: something that makes the driver call Wake soon.
func (x *Exchange) Waker(f func()) { x.wake = f }

// Wake asks the handler again about a request that waits for its turn.
func (x *Exchange) Wake() {
	if x.phase == phaseParked {
		x.route()
	}
}

// Drain makes the present answer the last one of the connection.
func (x *Exchange) Drain() { x.draining = true }

// Peer returns the client's side.
func (x *Exchange) Peer() *Peer { return &x.peer }

// Upstream returns where OpConnect should connect to.
func (x *Exchange) Upstream() *Upstream { return x.dec.Upstream }

// Fresh reports whether OpConnect must make a new connection: a pooled one was closed under us.
func (x *Exchange) Fresh() bool { return x.fresh }

// Tunnel reports whether the connection was upgraded.
func (x *Exchange) Tunnel() bool { return x.tunnel }

// Streaming reports whether both directions move independently, and asks for no more retries from here on: a driver that
// uses a goroutine for each direction needs the second one now.
func (x *Exchange) Streaming() bool {
	if x.phase != phaseActive || !x.has {
		return false
	}
	if x.tunnel || !x.up.done && !x.up.pending() {
		x.noRetry, x.streaming = true, true
		x.up.shared, x.down.shared = true, true
		return true
	}
	return false
}

// Settled ends what Streaming began: no goroutine of the driver's uses a buffer any more. Until then the exchange does not begin
// another request.
func (x *Exchange) Settled() {
	x.streaming = false
	x.up.shared, x.down.shared = false, false
}

// Over reports whether a request that streamed is complete and waits for Settled.
func (x *Exchange) Over() bool { return x.streaming && (x.phase != phaseActive || x.finished()) }

// Now sets the clock.
func (x *Exchange) Now(now int64) { x.now = now }

func (x *Exchange) step(what StepKind, n int) {
	if i := len(x.rec.Steps); i < keptSteps {
		x.rec.Steps = x.steps[:i+1]
		x.steps[i] = NewStep(what, n, time.Duration(x.now-x.rec.Start))
	}
}

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

// follow acts on a decision.
func (x *Exchange) follow() {
	switch x.dec.Verdict {
	case Forward:
		if !x.client.alone() && (x.dec.Private || x.req.Binds()) {
			x.elsewhere()
			return
		}
		if x.dec.Upstream == nil {
			x.dec.Status = 503
			x.answer()
			return
		}
		if x.dec.MaxBody > 0 && x.req.Length > x.dec.MaxBody {
			x.refuse(http1.FaultBodyLarge)
			return
		}
		x.connect()
	case Answer, Park:
		x.answer()
	}
}

func (x *Exchange) connect() {
	x.rec.Upstream = x.dec.Upstream
	x.rec.Attempts++
	x.connecting, x.sentUp, x.heard, x.unread = false, false, false, false
	x.mine = x.owns(x.dec.Upstream)
	x.bound = x.mine || x.dec.Private || x.req.Binds()
	x.fresh = x.fresh || x.dec.Private && !x.mine // what others bound to it before is theirs
	x.fresh = x.fresh || !x.served && !x.mine && !x.mayRepeatLater()
	x.phase, x.phaseSince = phaseConnect, x.now
	x.step(StepConnect, x.rec.Attempts)
}

// Connected says that OpConnect is done. reused tells a pooled connection, splice what the driver can move by itself.
func (x *Exchange) Connected(reused bool, splice Ready) {
	if !x.Connecting() {
		return
	}
	x.has, x.reused, x.rec.Reused, x.connecting = true, reused, reused, false
	x.splice = splice
	x.rec.Connected = x.now
	if reused {
		x.step(StepConnected, 1)
	} else {
		x.step(StepConnected, 0)
	}
	x.can = x.can&^ReadUpstream | WriteUpstream
	x.phase = phaseActive
	x.upgrade = x.req.Upgrade()
	if x.upgrade != nil && !x.dec.AnyUpgrade && !http1.FoldsTo(x.upgrade, "websocket") {
		x.upgrade = nil
	}
	if x.upgrade == nil && x.req.Upgrades() && x.req.UpgradeTo() != nil {
		x.closing = true // what follows may be meant in the other protocol
	}
	x.hold = x.req.ExpectsContinue() && !x.asked && x.up.r == x.up.w && !x.up.dirty
	size := smallBuffer
	if x.req.Chunked {
		size = chunkBuffer
	}
	x.up.begin(size)
	x.up.out = http1.AppendRequest(x.up.out, &x.req, &x.dec.Edits, x.req.ExpectsContinue(), x.upgrade)
	x.upSince = x.now
	x.owed[Up].Forget()
}

// Connecting reports whether OpConnect was returned and neither Connected, ConnectFailed nor a deadline has ended that attempt.
func (x *Exchange) Connecting() bool { return x.phase == phaseConnect && x.connecting }

// ConnectFailed says that OpConnect did not succeed. Without an attempt that waits it says nothing.
func (x *Exchange) ConnectFailed(cause Cause) {
	if !x.Connecting() {
		return
	}
	x.connecting = false
	x.step(StepConnectFailed, int(cause))
	x.failed(Why{Cause: cause, Retry: true})
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
	case x.has && !x.upBroken && x.up.pending() && x.can&WriteUpstream != 0:
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
		if !x.unasked {
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
		if x.dec.MaxBody > 0 && x.up.bytes > x.dec.MaxBody && before != x.up.bytes && !x.tunnel {
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
			x.cut(CauseResponse, fault)
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
	if x.reusable && x.up.done && !x.up.pending() && !x.upBroken && x.down.r+x.down.direct == x.down.w && !x.down.eof &&
		!x.dec.Upstream.Retired() {
		x.step(StepRelease, 0)
		if x.bound {
			x.Own(x.dec.Upstream)
			return OpKeepUpstream
		}
		return OpReleaseUpstream
	}
	x.unbind()
	x.step(StepDrop, 0)
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
