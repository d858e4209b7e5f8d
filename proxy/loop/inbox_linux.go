package loop

import (
	"net/netip"

	"portico/proxy/loop/socket"
)

// message is something that another goroutine tells a loop.
type message struct {
	kind  messageKind
	s     *sock
	gen   uint32
	fd    int32
	index int
	addr  netip.AddrPort
	sess  *session
	asked *question
	err   error
}

type messageKind uint8

const (
	messageConn          messageKind = iota // an accepted connection from another loop
	messageHandshaken                       // a TLS handshake is over
	messageResolved                         // a name was resolved
	messageTurn                             // a TLS handshake may begin
	messageWake                             // a parked request should look again
	messageStopAccepting                    // StopAccepting
	messageDrain                            // Shutdown has begun
	messageStop
)

// post hands a message to the loop from any goroutine.
func (l *loop) post(m message) {
	l.inMu.Lock()
	defer l.inMu.Unlock()
	if l.closed {
		if m.kind == messageConn {
			socket.Close(m.fd)
		}
		return
	}
	l.inbox = append(l.inbox, m)
	if !l.signaled.Swap(true) && l.asleep.Load() {
		one := [8]byte{1}
		socket.Write(l.wake.fd, one[:])
	}
}

// read opens messages as long as the turn allows. It does not wait for a lock that somebody holds who may not be running.
func (l *loop) read() {
	if l.open(); l.inDone < len(l.inOther) {
		return
	}
	l.mail = false
	l.signaled.Store(false)
	if !l.inMu.TryLock() {
		l.mail = true
		return
	}
	l.inbox, l.inOther, l.inDone = l.inOther[:0], l.inbox, 0
	l.inMu.Unlock()
	l.open()
	l.mail = l.inDone < len(l.inOther)
}

func (l *loop) open() {
	for l.inDone < len(l.inOther) && !l.late() {
		m := l.inOther[l.inDone]
		l.inOther[l.inDone] = message{}
		l.inDone++
		l.work += eventWork
		l.handle(&m)
	}
}

// readAll opens everything, when the loop has stopped turning.
func (l *loop) readAll() {
	for {
		for l.inDone < len(l.inOther) {
			m := l.inOther[l.inDone]
			l.inDone++
			l.handle(&m)
		}
		l.inMu.Lock()
		l.inbox, l.inOther, l.inDone = nil, l.inbox, 0
		l.inMu.Unlock()
		if len(l.inOther) == 0 {
			return
		}
	}
}

func (l *loop) handle(m *message) {
	switch m.kind {
	case messageConn:
		l.adopt(m.fd, m.index, m.addr)
	case messageHandshaken:
		l.shook(m.s, m.err)
	case messageResolved:
		l.resolved(m.asked)
	case messageTurn:
		l.turned(m.s, m.gen)
	case messageWake:
		l.woken(m.sess)
	case messageStopAccepting:
		l.deafen()
	case messageDrain: // it has woken the loop, and the turn has seen the flag
	case messageStop:
		l.stop = true
	}
}
