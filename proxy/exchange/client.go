package exchange

import "portico/proxy/http1"

// client is the half of an exchange that speaks to the client, in the client's own protocol. All that lies between the request's head and
// the bytes of its answer knows nothing of it.
type client interface {
	// understood adds to a request what its text does not say. It reports whether the request can be routed; if not, it is asked again with
	// what comes next.
	understood(x *Exchange) bool
	// upload is how a body of unknown length comes.
	upload() bodyMode
	// keeps reports whether what comes next of a body is to be read behind what came before, so that all of it can be sent again.
	keeps(up *flow) bool
	// alone reports whether the client's connection carries one request at a time. Only then a connection to an upstream can belong to it.
	alone() bool
	// proceed says 100 Continue.
	proceed(x *Exchange)
	// interim renders the head of an interim answer, with lines to add.
	interim(x *Exchange, add []byte)
	// switched renders the head that makes a tunnel.
	switched(x *Exchange)
	// portion is how much of an answer is read at a time, if there is room.
	portion() int
	// unbounded is how a body is sent of which nobody knows the length.
	unbounded(x *Exchange) http1.Framing
	// empty is how an answer is sent that has ended with its head.
	empty() http1.Framing
	// final renders the head of the final answer, and settles whether another request may follow.
	final(x *Exchange, frame http1.Framing, length int64)
	// local renders the decision's own answer.
	local(x *Exchange, body []byte)
	// trailers sends those that are kept until the body was written.
	trailers(x *Exchange)
	// resets reports whether nothing but a reset shows the client that its answer was cut.
	resets(x *Exchange) bool
	// leave ends the client's side behind the last answer.
	leave(x *Exchange)
}
