package exchange

// Op is what an exchange wants its driver to do next.
type Op uint8

// The operations. After each the driver reports what came of it with the method named here, then asks Next again.
const (
	OpWait            Op = iota // nothing until an event or Deadline
	OpIdle                      // between requests, nothing buffered: Release is possible
	OpReadClient                // read into Space, report with Read
	OpWriteClient               // write Pending, report with Wrote
	OpConnect                   // connect to Upstream (freshly if Fresh), report with Connected or ConnectFailed
	OpReadUpstream              // as for the client
	OpWriteUpstream             //
	OpSpliceDown                // move up to SpliceLeft bytes from upstream to client, report with Spliced
	OpSpliceUp                  // from client to upstream
	OpShutUpstream              // half-close: the client has ended its side of a tunnel; no report
	OpShutClient                // half-close: the upstream has ended, or the client is refused and should stop; no report
	OpReleaseUpstream           // the connection may serve other requests, or its stream is complete; no report
	OpKeepUpstream              // keep it for this client's connection alone, see Own; no report
	OpDropUpstream              // close it; no report
	OpClose                     // close the client's connection when what was written is flushed; the exchange is over
	OpAbort                     // reset it, so that a cut answer cannot look complete; the exchange is over
)

// Side of an exchange.
type Side uint8

// The two sides.
const (
	Client Side = iota
	Up
)

// Ready is a set of things that would not block.
type Ready uint8

// What can be done without blocking.
const (
	ReadClient Ready = 1 << iota
	WriteClient
	ReadUpstream
	WriteUpstream
)

type phase uint8

const (
	phaseHead    phase = iota // reading a request head
	phaseParked               // routing asked to wait
	phaseConnect              // a connection is being made
	phaseActive               // request and answer on their way, also a tunnel
	phaseLinger               // the answer was given, the client may still be sending
	phaseClose                // OpClose
	phaseAbort                // OpAbort
	phaseOver
)
