// Package http2 is an HTTP/2 connection without I/O: frames, streams, flow control and what is owed to a
// client that means harm (RFC 9113, RFC 7541, RFC 9218, RFC 8441).
//
// It knows bytes and not sites, sockets or clocks. A driver (packages loop and conn) reads into [Conn.Space] and writes [Conn.Pending];
// [Conn.Next] tells what has happened. Each stream is to be the client of an exchange (package exchange), of which
// nothing is known here: [Stream.Request] is its request, written down as HTTP/1 so that one parser holds one set of
// rules, and a [Stream] takes the heads of the answer.
//
// [Conn.Dial] makes a Conn the client of an upstream, called the origin here, with the same frames, windows and turns. A stream from
// [Conn.Open] is then to be the upstream of an exchange: it is written the request as HTTP/1 text and read the answer as such.
//
// Nothing here blocks, nothing allocates for a request once a connection has warmed up, and nothing is safe for concurrent use.
package http2
