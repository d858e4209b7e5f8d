package handshakes

import (
	"sync"

	"portico/internal/linked"
)

// Limit bounds how many TLS handshakes run at once. Sockets beyond the bound wait in order of arrival, whichever loop they belong to;
// their bytes wait in the kernel, and their deadlines go on.
type Limit[T any] struct {
	Most int // before the first use

	mu      sync.Mutex
	running int
	waiting int
	line    linked.List[Place[T]]
}

// Place is where a socket waits for its handshake.
type Place[T any] struct {
	Who T // whom Leave returns

	link linked.Link[Place[T]]
}

// Enter reports whether a handshake may begin now; else p is in line, and Leave returns it when its turn has come.
func (k *Limit[T]) Enter(p *Place[T]) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running < k.Most {
		k.running++
		return true
	}
	k.line.PushBack(&p.link, p)
	k.waiting++
	return false
}

// Leave ends a handshake. The first in line takes its turn over: that one is returned, ok.
func (k *Limit[T]) Leave() (next T, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.line.First()
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
	if p.link.Linked() {
		k.remove(p)
	}
}

func (k *Limit[T]) remove(p *Place[T]) {
	k.line.Remove(&p.link)
	k.waiting--
}

// Count is how many handshakes run and how many sockets wait.
func (k *Limit[T]) Count() (running, waiting int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return int64(k.running), int64(k.waiting)
}
