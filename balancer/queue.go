package balancer

// Waiter is a request that waits for a free place. The caller keeps it until it
// was called, or Cancel has taken it back.
type Waiter struct {
	Choice Choice // of Pick, with Queue set; after the hand-over with the upstream that was free

	// Go is called once, when the place is there: by the goroutine that freed
	// it, so it must not block. Sending on a channel with room, or waking a
	// loop, is right.
	Go func(*Waiter)

	prev, next *Waiter
	queue      *line
}

type line struct{}

// Enqueue lets a request wait whose Choice has Queue set, and reports whether
// there was room. A place that is free by now is handed over before Enqueue returns.
func (p *Pool) Enqueue(w *Waiter, now int64) bool {
	w.Choice.Queue = false
	w.Go(w)
	return true
}

// Cancel takes a request out of the queue and reports whether it was still
// waiting. If not, Go has been called or is being called, and the choice must be
// given to Done.
func (p *Pool) Cancel(w *Waiter) bool { return false }
