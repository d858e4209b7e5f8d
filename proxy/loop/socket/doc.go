// Package socket is what an event loop does to sockets: system calls that never block and go past Go's scheduler. Its functions exist on
// Linux alone.
package socket
