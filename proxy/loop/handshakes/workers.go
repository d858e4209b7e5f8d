package handshakes

import "sync"

// Workers are the goroutines that make handshakes. Some are kept for the next ones: a handshake needs more stack than a goroutine begins
// with, and to make that larger, four times, takes a twenty-fifth of it.
type Workers struct {
	mu     sync.Mutex
	wg     sync.WaitGroup
	idle   []chan func()
	closed bool
}

// keptWorkers is how many wait for handshakes at most.
const keptWorkers = 16

// Do has a goroutine do f.
func (k *Workers) Do(f func()) {
	k.mu.Lock()
	if n := len(k.idle); n > 0 {
		next := k.idle[n-1]
		k.idle = k.idle[:n-1]
		k.mu.Unlock()
		next <- f
		return
	}
	k.mu.Unlock()
	k.wg.Go(func() { k.work(f) })
}

// work does f, and what comes next as long as this goroutine is kept.
func (k *Workers) work(f func()) {
	next := make(chan func(), 1)
	for f != nil {
		f()
		if !k.keep(next) {
			return
		}
		f = <-next
	}
}

// keep reports whether the goroutine that listens to next is to wait.
func (k *Workers) keep(next chan func()) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || len(k.idle) == keptWorkers {
		return false
	}
	k.idle = append(k.idle, next)
	return true
}

// Close ends those that wait, and waits for the others.
func (k *Workers) Close() {
	k.mu.Lock()
	k.closed = true
	for _, next := range k.idle {
		close(next)
	}
	k.idle = nil
	k.mu.Unlock()
	k.wg.Wait()
}
