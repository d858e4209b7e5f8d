package loop

import "sync"

// shakes bounds how many TLS handshakes run at once. Sockets beyond the bound wait in order of arrival, whichever loop they belong to;
// their bytes wait in the kernel, and their deadlines go on.
type shakes struct {
	mu          sync.Mutex
	most        int
	running     int
	waiting     int
	first, last *place
}

// place is where a socket waits for its handshake.
type place struct {
	l          *loop
	s          *sock
	gen        uint32
	waits      bool
	prev, next *place
}

// enter reports whether a handshake may begin now; else p is in line, and its loop is told when its turn has come.
func (k *shakes) enter(p *place) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running < k.most {
		k.running++
		return true
	}
	p.waits, p.prev, p.next = true, k.last, nil
	if k.last != nil {
		k.last.next = p
	} else {
		k.first = p
	}
	k.last = p
	k.waiting++
	return false
}

// leave ends a handshake; the first in line takes its turn over.
func (k *shakes) leave() {
	k.mu.Lock()
	p := k.first
	if p == nil {
		k.running--
	} else {
		k.remove(p)
	}
	k.mu.Unlock()
	if p != nil {
		p.l.post(message{what: whatTurn, s: p.s, gen: p.gen})
	}
}

// quit takes a socket that closes out of the line. If its turn is on the way to it, the loop passes that on.
func (k *shakes) quit(p *place) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.waits {
		k.remove(p)
	}
}

func (k *shakes) remove(p *place) {
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		k.first = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	} else {
		k.last = p.prev
	}
	p.waits, p.prev, p.next = false, nil, nil
	k.waiting--
}

// count is how many handshakes run and how many sockets wait.
func (k *shakes) count() (running, waiting int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return int64(k.running), int64(k.waiting)
}

// shakes returns the line that a socket's handshake belongs to: visitors must not keep instances waiting.
func (l *loop) shakes(s *sock) *shakes {
	if s.kind == kindUpstream {
		return &l.srv.upstreamShakes
	}
	return &l.srv.clientShakes
}

// turned: the turn of a socket has come. One that is gone passes it on.
func (l *loop) turned(s *sock, gen uint32) {
	if s.gen != gen || l.socks[s.fd] != s || s.tls.state != tlsWaiting {
		l.shakes(s).leave()
		return
	}
	l.shakeNow(s)
}
