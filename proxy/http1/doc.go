// Package http1 is HTTP/1.1 without I/O: strict parsers for heads and chunked bodies (RFC 9110, RFC 9112), the rewriting of heads on
// their way through a proxy, and one exchange as a state machine.
//
// It knows bytes and not sites, sockets or clocks. A driver (packages loop and conn) moves the bytes that an [Exchange] asks for and
// tells it what came of it; a [Handler] decides where a request goes. Nothing here allocates once an Exchange has warmed up, and
// nothing here blocks.
//
// What is refused, and why, is written beside each [Fault]. Three rules where the RFCs leave a choice, the same for routing and for
// forwarding:
//
//   - Field names with an underscore are dropped: CGI-like gateways read "X_Forwarded_For" and "X-Forwarded-For" as one name.
//     Edits.Underscores lets through what is no other name of a field that a proxy acts on.
//   - The path is forwarded byte for byte. Under which form it is matched with sites is the handler's affair, the same
//     for every engine.
//   - A backslash, a fragment or a byte outside printable ASCII in the path is refused; the query may hold any printable ASCII but "#".
package http1
