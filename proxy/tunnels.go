package proxy

import (
	"context"
	"io"
	"sync"
)

// tunnels are the upgraded connections: net/http has let go of them, so they are
// drained and cut here.
type tunnels struct {
	mu     sync.Mutex
	open   map[*tunnel]struct{} // guarded by mu
	closed bool                 // guarded by mu: none may begin
	empty  chan struct{}        // guarded by mu: closed when the last one ends; nil: nobody waits
}

// tunnel is one upgraded connection, both ends of it.
type tunnel struct{ client, instance io.Closer }

// add registers a tunnel and reports false when the proxy is already cutting.
func (t *tunnels) add(x *tunnel) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if t.open == nil {
		t.open = map[*tunnel]struct{}{}
	}
	t.open[x] = struct{}{}
	return true
}

func (t *tunnels) remove(x *tunnel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, x)
	if len(t.open) == 0 && t.empty != nil {
		close(t.empty)
		t.empty = nil
	}
}

func (t *tunnels) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// drain waits until all tunnels have ended, or cuts them when ctx does. Either
// way none is left when it returns.
func (t *tunnels) drain(ctx context.Context) error {
	wait := t.waiter()
	if wait == nil {
		return nil
	}
	var err error
	select {
	case <-wait:
	case <-ctx.Done():
		err = ctx.Err()
		t.cut()
		<-wait
	}
	return err
}

// waiter returns a channel that closes when no tunnel is open; nil: none is.
func (t *tunnels) waiter() chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open) == 0 {
		t.closed = true
		return nil
	}
	if t.empty == nil {
		t.empty = make(chan struct{})
	}
	return t.empty
}

func (t *tunnels) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for x := range t.open {
		_ = x.client.Close()
		_ = x.instance.Close()
	}
}
