// Package http1 is what HTTP/1.1 looks like: strict parsers for heads and chunked bodies (RFC 9110, RFC 9112), and the rewriting of heads
// on their way through a proxy. It knows nothing of connections; package exchange serves requests with it.
//
// The rules of HTTP that every version shares are here as well, once: what a host, a field name and a length may be, which fields travel,
// what is wrong with a message. Package http2 writes requests down as HTTP/1 text, which is parsed here.
//
// What is refused, and why, is written beside each [Fault]. Three rules where the RFCs leave a choice, the same for routing and for
// forwarding:
//
//   - Field names with an underscore are dropped: CGI-like gateways read "X_Forwarded_For" and "X-Forwarded-For" as one name.
//     Edits.Underscores lets through what is no other name of a field that a proxy acts on.
//   - The path is forwarded byte for byte. Under which form it is matched with sites is the handler's affair, the same
//     for every engine.
//   - A backslash, a fragment or a byte outside printable ASCII in the path is refused; the query may hold any printable ASCII but "#".
//
// Nothing here allocates once its values have warmed up.
package http1
