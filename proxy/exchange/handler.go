package exchange

import (
	"net/netip"
	"time"

	"portico/proxy/exchange/account"
	"portico/proxy/http1"
)

// Handler decides what becomes of requests. Its methods are called from several loops or goroutines at once, must not block, and
// must not keep what their pointers lead to after they return, except as said.
type Handler interface {
	// Route fills d for a request. d is zero but for Record, and for Scratch and State, which the handler may reuse from one request to
	// the next.
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

	// Finished is called once for every request that was routed or refused, when its last byte was written or given up. d.Record is
	// complete but for what the handler adds, and is the next request's when it returns.
	Finished(r *http1.Request, p *Peer, d *Decision)
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

// Why a request could not go on.
type Why struct {
	Cause account.Cause
	Fault http1.Fault // what was wrong with a message, for account.CauseRequest and account.CauseResponse
	Retry bool        // nothing was sent, or it is safe to send it again
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
	Broken bool   // what the client still sends is not to be read: over HTTP/1 the connection closes behind the answer, a stream ends alone

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

	Record  *account.Record // of this request, set by the driver: the handler adds what it alone knows
	Scratch []byte          // the handler's own, for building edits
	State   any             // the handler's own
}

func (d *Decision) reset() {
	*d = Decision{Record: d.Record, Scratch: d.Scratch[:0], State: d.State}
}
