package account

import "portico/proxy/wire"

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
	CauseReset                    // the upstream gave up this request alone: the connection that it came on goes on
)

// String names the cause in one word.
func (c Cause) String() string {
	return [...]string{
		"none", "request", "response", "connect", "connect-timeout", "upstream", "timeout", "client", "busy", "shutdown", "bound", "reset",
	}[c]
}

// Reset is how the cause is told to a client whose stream ends for it.
func (c Cause) Reset() wire.Reset {
	switch c {
	case CauseClient:
		return wire.ResetCancel
	case CauseBound:
		return wire.ResetUnshared
	case CauseRequest:
		return wire.ResetMalformed
	case CauseNone, CauseResponse, CauseConnect, CauseConnectTime, CauseUpstream, CauseTimeout, CauseBusy, CauseShutdown, CauseReset:
	}
	return wire.ResetInternal
}
