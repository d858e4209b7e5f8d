// Package wire is what state machines without I/O (packages exchange and http2) and the drivers that move their bytes (packages loop and
// conn) agree on: how a read or a write ended, who lends buffers, how long a side may take, why a stream is reset.
package wire

// Memory lends buffers. Get returns one of at least size bytes; Put takes it back. A driver's loop is its own Memory, so neither
// needs a lock.
type Memory interface {
	Get(size int) []byte
	Put(b []byte)
}

// Result of a read or write.
type Result uint8

// The results.
const (
	More    Result = iota // there may be more
	Blocked               // no more for now
	EOF                   // the peer has ended its side
	Failed                // the connection is broken
)

// Reset is why a stream of a connection that carries several ends before it is complete. Every such protocol has a code for each.
type Reset uint8

// The reasons.
const (
	ResetInternal  Reset = iota // the answer failed, and not through the client
	ResetCancel                 // the client went away, or is too slow
	ResetMalformed              // the request is none
	ResetUnshared               // the request needs a connection of its own: it is to come over HTTP/1.1
)
