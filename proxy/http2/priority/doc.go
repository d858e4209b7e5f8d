// Package priority tells in which order a client wants its answers (RFC 9218): the urgency of one, and what was said of those whose
// requests are still to come. Who sends next is decided in package http2, which knows the windows.
package priority
