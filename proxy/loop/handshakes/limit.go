package handshakes

import "sync"

// Limit bounds how many TLS handshakes run at once. Sockets beyond the bound wait in order of arrival, whichever loop they belong to;
// their bytes wait in the kernel, and their deadlines go on.
type Limit[T any] struct {
	Most int // before the first use

	mu          sync.Mutex
	running     int
	waiting     int
	first, last *Place[T]
}

// Place is where a socket waits for its handshake.
type Place[T any] struct {
	Who T // whom Leave returns

	waits      bool
	prev, next *Place[T]
}

// Enter reports whether a handshake may begin now; else p is in line, and Leave returns it when its turn has come.
func (k *Limit[T]) Enter(p *Place[T]) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running < k.Most {
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

// Leave ends a handshake. The first in line takes its turn over: that one is returned, ok.
func (k *Limit[T]) Leave() (next T, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.first
	if p == nil {
		k.running--
		return next, false
	}
	k.remove(p)
	return p.Who, true
}

// Quit takes a socket that closes out of the line. If its turn is on the way to it, its owner passes that on.
func (k *Limit[T]) Quit(p *Place[T]) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.waits {
		k.remove(p)
	}
}

func (k *Limit[T]) remove(p *Place[T]) {
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

// Count is how many handshakes run and how many sockets wait.
func (k *Limit[T]) Count() (running, waiting int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return int64(k.running), int64(k.waiting)
}
