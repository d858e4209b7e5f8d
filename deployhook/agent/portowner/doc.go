// Package portowner tells which user is at the other end of a connection within
// this machine, and who listens on a port of it.
//
// A loopback port belongs to whoever binds it first, so a port number says
// nothing about who answers. The kernel knows the user id of both ends. This
// package asks it about one connection, after it is made and before the first
// byte goes out: a question about the port alone could be answered for one
// listener and then be true of the next.
//
// Only Linux can be asked (sock_diag). Elsewhere every question fails with
// ErrUnsupported.
package portowner

import (
	"errors"
	"fmt"
)

var (
	// ErrUnsupported: this system does not tell.
	ErrUnsupported = errors.New("this system does not tell who holds a port")
	// ErrGone: the other end closed before it could be asked about, or there is no listener.
	ErrGone = errors.New("nobody is there")
)

// Holder is who listens on a port.
type Holder struct {
	UID int // of the process that made the listener

	// PIDs are the processes that have it open, as far as they can be seen: those
	// of other users need CAP_SYS_PTRACE, and a thread may hide its descriptors.
	// They are for messages, not for decisions.
	PIDs []int
}

// ForeignError says that a connection was made and closed again, before any byte
// went over it, because somebody else answered.
type ForeignError struct {
	Addr string
	UID  int   // who answered
	Err  error // what Dialer.Allow said
}

// Error implements error.
func (e *ForeignError) Error() string { return fmt.Sprintf("%s: %v", e.Addr, e.Err) }

// Unwrap returns what Dialer.Allow said.
func (e *ForeignError) Unwrap() error { return e.Err }
