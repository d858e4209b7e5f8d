package conn

import (
	"sync"

	"portico/proxy/exchange"
)

// own holds the upstream connections that belong to one client's connection and wait for its next request, see package http1.
type own struct {
	mu   sync.Mutex
	idle []*upstream // guarded by mu; the one that has waited longest first
}

// put keeps a connection, and closes the one that has waited longest when there are too many. It reports false where u has something
// to say that nobody has asked for, and is closed.
func (o *own) put(u *upstream) bool {
	if !u.silent() {
		u.close()
		return false
	}
	o.mu.Lock()
	o.idle = append(o.idle, u)
	var old *upstream
	if len(o.idle) > exchange.MaxOwn {
		old, o.idle = o.idle[0], o.idle[1:]
	}
	o.mu.Unlock()
	if old != nil {
		old.close()
	}
	return true
}

// get takes the connection to up, nil where it has ended.
func (o *own) get(up *exchange.Upstream) *upstream {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, u := range o.idle {
		if u.up != up {
			continue
		}
		o.idle = append(o.idle[:i], o.idle[i+1:]...)
		u.idle = true // with raw system calls, send looks
		if u.io.raw == nil && !(u.silent() && u.peek.quiet()) {
			u.close()
			return nil
		}
		return u
	}
	return nil
}

func (o *own) each(f func(u *upstream)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, u := range o.idle {
		f(u)
	}
}

// sweep closes connections that have ended, or whose upstream is retired, and reports whether there were any.
func (o *own) sweep() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, u := range o.idle {
		if u.up.Retired() || !u.peek.quiet() {
			u.close()
			continue
		}
		o.idle[n] = u
		n++
	}
	ended := n < len(o.idle)
	clear(o.idle[n:])
	o.idle = o.idle[:n]
	return ended
}

// close closes all, because the client's connection ends.
func (o *own) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, u := range o.idle {
		u.close()
	}
	o.idle = nil
}
