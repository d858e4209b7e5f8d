package exchange

import (
	"crypto/tls"
	"net/netip"
	"sync/atomic"
	"time"

	"portico/proxy/http1"
)

// Handler decides what becomes of requests. Its methods are called from several loops or goroutines at once, must not block, and
// must not keep what their pointers lead to after they return, except as said.
type Handler interface {
	// Route fills d for a request. d is zero but for Scratch and State, which the handler may reuse from one request to the next.
	Route(r *http1.Request, p *Peer, d *Decision)

	// Hinted is called with the head of an interim answer that goes to the client, such as early hints. It returns complete lines to
	// add, each with CRLF, which need not last.
	Hinted(r *http1.Request, a *http1.Response, d *Decision) []byte

	// Answered is called with the head of an upstream's final answer, before it goes to the client. The handler may append to
	// d.AnswerFields.
	Answered(r *http1.Request, a *http1.Response, d *Decision)

	// Failed is called when a request cannot go on as decided: with why.Retry the handler may name another upstream (never one
	// that was tried for this request) and keep Forward; otherwise, or by choice, it sets Answer. Status is preset.
	Failed(r *http1.Request, p *Peer, d *Decision, why Why)

	// Finished is called once for every request that was routed or refused, when its last byte was written or given up.
	Finished(r *http1.Request, p *Peer, d *Decision, rec *Record)
}

// Peer is the client's side of a connection.
type Peer struct {
	Addr       netip.AddrPort // of the client, as PROXY protocol names it where that is accepted
	Local      netip.AddrPort
	Text       []byte // Addr's address in text
	HTTPS      bool
	ServerName string      // from SNI, "" without
	Listener   int         // which of the driver's listeners accepted it
	Lane       int         // connections with the same number are served by the same loop, if the driver has loops
	Now        int64       // the driver's clock when Route or Failed is called, in nanoseconds
	Own        []*Upstream // those to which the client's connection has one of its own, the latest last
}

// Verdict is what a handler decides.
type Verdict uint8

// What can become of a request.
const (
	Forward Verdict = iota // to Upstream
	Answer                 // Status, Header and Body
	Park                   // ask Route again when Wake is called, at the latest after ParkFor: a place in a queue
)

// Decision is what the handler decided for one request.
type Decision struct {
	Verdict  Verdict
	Upstream *Upstream
	http1.Edits

	Status int    // of an Answer
	Header []byte // its fields, each line with CRLF, without Content-Length and Connection
	Body   []byte // must not change until Finished
	Close  bool   // close the connection after the answer, whoever gives it

	MaxBody    int64         // request body in bytes, 0: no limit; 413 beyond
	Private    bool          // the connection to the upstream is new, or this client connection's already, and stays so; see Exchange.Own
	AnyUpgrade bool          // let every protocol through that the upstream switches to, not only websocket
	Silence    time.Duration // how long the answer's body may pause, 0: Timeouts.Response
	Stays      bool          // no other upstream can answer: the request waits for this one also after Upstream.Leave
	Connect    time.Duration // how long a connection to Upstream may take, 0: Timeouts.Connect
	Attempts   int           // how many upstreams may be tried, 0: 3
	ParkFor    time.Duration // see Park
	Parked     int           // how often Route has parked this request
	// Wake makes the driver ask Route again at once. The driver sets it. It may be called from any goroutine and any number of times,
	// never blocks, and does nothing when the request no longer waits; called late, it may make Route look once in vain.
	Wake func()

	Scratch []byte // the handler's own, for building edits
	State   any    // the handler's own
}

func (d *Decision) reset() {
	scratch, state := d.Scratch[:0], d.State
	*d = Decision{}
	d.Scratch, d.State = scratch, state
}

// Upstream is a place to send requests to. It is known by its pointer: every Upstream has connections of its own. All fields but the
// counters are constant once it is in use.
type Upstream struct {
	Addr      string        // host:port; a name is resolved when a connection is made
	TLS       *tls.Config   // nil: plain
	MaxIdle   int           // idle connections kept for each loop, 0: 64
	IdleFor   time.Duration // an idle connection is closed after this, 0: 30 s
	SendProxy int           // PROXY protocol version to open connections with: 0 none, 1 or 2; such connections are not shared
	Data      any           // the handler's own

	retired atomic.Bool
	killed  atomic.Bool
	left    atomic.Bool
	conns   atomic.Int64
	idle    atomic.Int64
}

// Retire makes drivers close the upstream's idle connections soon and its busy ones after their request.
func (u *Upstream) Retire() { u.retired.Store(true) }

// Kill retires the upstream and makes drivers cut its busy connections within about a second: it is no longer trusted.
func (u *Upstream) Kill() {
	u.killed.Store(true)
	u.Retire()
}

// Leave retires the upstream and makes drivers cut within about a second the connections of those requests that have no answer yet
// and could get one elsewhere (not Decision.Stays): it is silent.
func (u *Upstream) Leave() {
	u.left.Store(true)
	u.Retire()
}

// Left reports whether Leave was called.
func (u *Upstream) Left() bool { return u.left.Load() }

// Killed reports whether Kill was called.
func (u *Upstream) Killed() bool { return u.killed.Load() }

// idleFor is IdleFor with its default.
func (u *Upstream) idleFor() time.Duration {
	if u.IdleFor == 0 {
		return 30 * time.Second
	}
	return u.IdleFor
}

// Retired reports whether Retire was called.
func (u *Upstream) Retired() bool { return u.retired.Load() }

// Conns returns how many connections drivers hold to the upstream, idle ones included.
func (u *Upstream) Conns() int64 { return u.conns.Load() }

// Idle returns how many of them are idle.
func (u *Upstream) Idle() int64 { return u.idle.Load() }

// Count is for drivers: it adds to the counts of connections.
func (u *Upstream) Count(conns, idle int64) {
	if conns != 0 {
		u.conns.Add(conns)
	}
	if idle != 0 {
		u.idle.Add(idle)
	}
}

// Why a request could not go on.
type Why struct {
	Cause Cause
	Fault http1.Fault // what was wrong with a message, for CauseRequest and CauseResponse
	Retry bool        // nothing was sent, or it is safe to send it again
}

// Cause is how an exchange ended when it did not end well.
type Cause uint8

// The causes.
const (
	CauseNone        Cause = iota // complete
	CauseRequest                  // the request was refused, see Fault
	CauseResponse                 // the answer was malformed, see Fault
	CauseConnect                  // no connection to the upstream
	CauseConnectTime              // none in time
	CauseUpstream                 // the upstream closed or reset before the answer was complete
	CauseTimeout                  // the upstream was silent for too long
	CauseClient                   // the client went away, or took too long to send or take bytes
	CauseBusy                     // out of descriptors, or a limit of the driver's
	CauseShutdown                 // the driver stopped before it was complete
	CauseBound                    // the upstream had ended a connection that the client has to itself, or the client's cannot have one
)

// String names the cause in one word.
func (c Cause) String() string {
	return [...]string{
		"none", "request", "response", "connect", "connect-timeout", "upstream", "timeout", "client", "busy", "shutdown", "bound",
	}[c]
}

// Record is what is known of a finished request. Times are the driver's clock, in nanoseconds; zero: it did not happen.
type Record struct {
	Status    int
	Upstream  *Upstream // the last that was tried
	Cause     Cause
	Fault     http1.Fault
	Attempts  int
	Reused    bool // the upstream's connection had served before
	Upgraded  bool
	Local     bool  // answered here
	BytesIn   int64 // from the client, with the request's head
	BytesOut  int64
	Start     int64 // first byte of the request
	Routed    int64
	Connected int64
	Sent      int64 // request complete at the upstream
	FirstByte int64 // head of the final answer
	End       int64
	Steps     []Step // what happened, in order; the last ones are missing when there were more than the exchange keeps
}

// Step is one thing that happened to an exchange.
type Step struct {
	What StepKind
	late uint16 // of At in microseconds, the bits above low
	N    int32  // bytes, status or fault
	low  uint32
}

// NewStep makes a step that happened that long after the request's Start.
func NewStep(what StepKind, n int, after time.Duration) Step {
	us := min(max(after.Microseconds(), 0), 1<<48-1)
	return Step{What: what, late: uint16(us >> 32), N: int32(n), low: uint32(us)}
}

// At is when it happened, since Start, in microseconds; nearly nine years at most.
func (s *Step) At() time.Duration {
	return time.Duration(int64(s.late)<<32|int64(s.low)) * time.Microsecond
}

// StepKind names a step.
type StepKind uint8

// The steps.
const (
	StepRead StepKind = iota
	StepRoute
	StepConnect
	StepConnected
	StepConnectFailed
	StepWriteUpstream
	StepReadUpstream
	StepInterim
	StepHead
	StepWrite
	StepRelease
	StepDrop
	StepRefuse
	StepFail
	StepUpgrade
	StepTimeout
	StepFinish
)

// String names the step.
func (k StepKind) String() string {
	return [...]string{
		"read", "route", "connect", "connected", "connect-failed", "write-upstream", "read-upstream", "interim", "head", "write", "release",
		"drop", "refuse", "fail", "upgrade", "timeout", "finish",
	}[k]
}
