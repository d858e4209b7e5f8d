// Package account is what is known of an exchange in its end: what happened, when, and how it ended. Whoever serves the exchange fills it,
// whoever tells of it reads it; nothing here measures or writes.
package account

import (
	"net/netip"
	"time"

	"portico/proxy/http1"
)

// Record is the account of one exchange. The exchange fills in what it sees, its handler what it decided; all of it is there once the
// exchange has ended. Texts alias the request's head and do not outlast that moment.
type Record struct {
	Kept
	AddrText  []byte // Client's address in text, where somebody has it; nil: nobody
	Method    string // empty, or Target is: the request could not be read
	Host      string
	Target    string // in origin form, credentials in it hidden, see accesslog.Redact
	UserAgent string
	Referer   string
	Attempts  int    // connections asked for, see Retries
	Steps     []Step // what happened, in order; the last ones are missing when there were more than the exchange keeps
	Active    int    // client connections of the process
	Inflight  int    // requests at the instance
	SiteReqs  int    // requests at the site
	Tries     []Try  // those that failed before the last one, in order
	Session   string // cause, when a session was lost
	Error     string // of the last try
}

// Kept is the part of a record that outlasts the exchange: plain values, and strings that belong to the catalog or the program, so that
// a copy allocates nothing. Times from Start to End are the driver's clock, in nanoseconds; zero: it did not happen.
type Kept struct {
	ID        uint64
	At        time.Time      // when the request began
	Client    netip.AddrPort // peer, with the visitor's address where a trusted proxy named it
	Frontend  string         // "http" or "https"
	Proto     string         // "HTTP/1.1"
	Site      string         // empty: none was found
	Member    string         // where the instance runs
	Instance  string         // id; empty: portico answered by itself
	BytesIn   int64          // from the client, with the request's head
	BytesOut  int64          // sent: heads and bodies; over HTTP/2, heads as they would be in HTTP/1.1
	Start     int64          // first byte of the request
	Routed    int64
	Connected int64
	Sent      int64         // request complete at the upstream
	FirstByte int64         // head of the final answer
	End       int64         // while it runs: of the last try that failed
	Queue     time.Duration // wait for a place at the instance; 0: none
	Status    int
	Retries   int     // instances that were tried before the last one
	State     [4]byte // HAProxy's termination state: cause, phase, cookie seen, cookie sent
	Cause     Cause
	Fault     http1.Fault
	TLS       bool
	Reused    bool // the upstream's connection had served before
	Local     bool // answered here
}

// Request is how long it took to read the request's head; negative: it could not be read.
func (k *Kept) Request() time.Duration { return time.Duration(k.Routed - k.Start) }

// Connect is how long it took to have a connection to the instance; negative: there was none.
func (k *Kept) Connect() time.Duration {
	switch {
	case k.Connected == 0:
		return -1
	case k.Reused:
		return 0
	}
	return time.Duration(k.Connected - k.Routed)
}

// Response is how long the instance thought about its answer; negative: it gave none.
func (k *Kept) Response() time.Duration {
	if k.Connected == 0 || k.FirstByte == 0 || k.Local {
		return -1
	}
	return time.Duration(k.FirstByte - max(k.Connected, min(k.Sent, k.FirstByte)))
}

// Total is how long it took until End.
func (k *Kept) Total() time.Duration { return time.Duration(max(k.End-k.Start, 0)) }

// Class is the index of the status in counters by class; 0 is everything else.
func (k *Kept) Class() int {
	if k.Status >= 100 && k.Status < 600 {
		return k.Status / 100
	}
	return 0
}

// Try is one that failed before another was made.
type Try struct {
	Instance string // "server-1-4f2a11"
	Error    string
}

// Again notes that a try has failed and another one is made: how the request ends is up to that one.
func (r *Record) Again(instance string, err error) {
	r.Tries = append(r.Tries, Try{Instance: instance, Error: err.Error()})
	r.Error = ""
	r.Retries++
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
