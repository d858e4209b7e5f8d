// Package seal makes and reads what visitors bring back: the sticky cookie, which
// says on which instance a session is, and the ticket of the waiting room. It knows the
// cluster's session keys, and nothing of instances or of sessions: what it reads can be judged
// by the cookie and the clock alone. Seal and Open allocate nothing.
package seal
