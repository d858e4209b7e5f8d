// Package account is what is known of an exchange in its end: what happened, when, and how it ended. Whoever serves the exchange fills it,
// whoever tells of it reads it; nothing here measures or writes.
package account

import (
	"time"

	"portico/proxy/http1"
)

// Record is what is known of a finished request. Times are the driver's clock, in nanoseconds; zero: it did not happen.
type Record struct {
	Status    int
	Cause     Cause
	Fault     http1.Fault
	Attempts  int
	Reused    bool  // the upstream's connection had served before
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
