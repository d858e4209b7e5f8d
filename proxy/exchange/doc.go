// Package exchange is a request and its answer on their way through a proxy, whatever protocol the client speaks: an [Exchange] is a state
// machine, without I/O, between one client and one upstream at a time.
//
// It knows bytes and not sites, sockets or clocks. A driver (packages loop and conn) moves the bytes that an Exchange asks for and
// tells it what came of it; a [Handler] decides where a request goes. What the client speaks is behind a seam of two halves: HTTP/1 on a
// connection of its own, or one stream of a connection that carries several ([Exchange.Stream], [Sink]). What the upstream speaks shows in
// how its bodies end, and in little else (origin_stream.go). Heads are read and written by
// package http1, also for a stream, so that one parser holds one set of rules.
//
// Nothing here allocates once an Exchange has warmed up, and nothing here blocks.
package exchange
