package exchange

import (
	"net/netip"
	"time"

	"portico/proxy/exchange/account"
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
	rec   account.Record
	up    flow // client to upstream
	down  flow // upstream to client

	headBuf []byte // the buffer that req aliases, when up.in is another one
	routed  bool   // req is valid and Finished is owed

	connecting bool // OpConnect was returned
	fresh      bool // only a new connection will do
	has        bool // a connection to the upstream is attached
	reused     bool
	mine       bool       // the connection belonged to this client alone before this request
	bound      bool       // it does now
	shares     bool       // it is a stream of one that carries other requests, too, see origin_stream.go
	given      bool       // the upstream has given up this request alone
	garbled    bool       // its answer is none
	resetAs    wire.Reset // and said so
	endUp      bool       // such a one is still to be told where the request ends
	sentUp     bool       // some byte of this attempt went to the upstream
	heard      bool       // some byte of this attempt came back
	unread     bool       // nothing of this attempt was read, see Unread
	headDone   bool       // the final head was rendered for the client
	upBroken   bool       // the upstream takes no more of the request
	reusable   bool       // the answer allows another request on its connection
	served     bool       // the client's connection has had an answer before
	hold       bool       // the body waits for 100 Continue
	asked      bool       // 100 Continue was said: not a second time
	unasked    bool       // the final head came instead of it: the client may keep its body
	closing    bool       // the connection closes after this answer
	endOwed    bool       // the client is still to be told where the answer ends
	draining   bool
	gone       bool // the client's connection is known to be dead
	ended      bool // the client has ended its side, see ClientEnded
	noRetry    bool // see Streaming
	streaming  bool // between Streaming and Settled
	splice     Ready
	interim    int
	crlfs      int
	upgrade    []byte
	tunnel     bool
	why        account.Cause // of OpAbort

	keep       time.Duration // how long the upstream connection may wait for its next request
	got        int64         // bytes from the client that no record has told yet
	headSince  int64
	phaseSince int64
	reads      pace // waiting for the client to send
	writes     pace // waiting for the client to take
	upSince    int64
	owed       [2]Unacked // by side
	lingered   int
	steps      [keptSteps]account.Step
	own        [MaxOwn]*Upstream // peer.Own
}

// Begin makes x serve a connection. It takes writing to be possible; Allow says when reading is.
func (x *Exchange) Begin(conf *Config, mem wire.Memory, addr, local netip.AddrPort, https bool, serverName string, listener int, now int64) {
	x.conf, x.mem, x.now = conf, mem, now
	x.up.mem, x.down.mem = mem, mem
	x.client, x.dec.Record = http1Client{}, &x.rec
	if p := &x.peer; p.Text == nil || p.Addr.Addr() != addr.Addr() {
		p.Text = addr.Addr().Unmap().WithZone("").AppendTo(x.text[:0])
	}
	x.peer.Addr, x.peer.Local, x.peer.HTTPS, x.peer.ServerName, x.peer.Listener = addr, local, https, serverName, listener
	x.phase, x.can, x.splice = phaseHead, WriteClient, 0
	x.draining, x.gone, x.ended, x.routed, x.has, x.tunnel, x.noRetry, x.streaming = false, false, false, false, false, false, false, false
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
	x.noRetry, x.mine, x.bound, x.shares, x.endUp = false, false, false, false, false
	x.given, x.garbled = false, false
	x.upBroken, x.reusable, x.closing, x.endOwed, x.interim, x.upgrade = false, false, false, false, 0, nil
	x.why = account.CauseNone
	x.hold, x.asked, x.unasked = false, false, false
	x.reads, x.writes, x.upSince = pace{}, pace{}, 0
	x.owed[Client].Forget()
	x.owed[Up].Forget()
	x.rec = account.Record{}
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

func (x *Exchange) step(what account.StepKind, n int) {
	if i := len(x.rec.Steps); i < keptSteps {
		x.rec.Steps = x.steps[:i+1]
		x.steps[i] = account.NewStep(what, n, time.Duration(x.now-x.rec.Start))
	}
}
