package http2

// EventKind says what has happened.
type EventKind uint8

// The events.
const (
	EventNone     EventKind = iota // nothing more before an input
	EventOpen                      // a request has come: Stream.Malformed, Stream.Request and Stream.Open say which
	EventReadable                  // Stream.Read would return something
	EventWritable                  // Stream.Write was Blocked and would take bytes now
	EventReset                     // the stream is over: the client or an error of the client's has ended it
)

// Event is one thing that has happened to a stream.
type Event struct {
	Kind   EventKind
	Stream *Stream
}
