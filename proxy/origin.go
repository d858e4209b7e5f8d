package proxy

import (
	"crypto/tls"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"portico/proxy/http1"
)

// origin is the way to one instance: where to connect, and what becomes of the connections there. The engine's driver makes and
// keeps them, in an [http1.Upstream] that changes whenever those before it have to end.
type origin struct {
	addr     string
	member   string      // whose instance it is, "" for a static one
	key      string      // that member's fingerprint, "" where it is not known
	tls      *tls.Config // nil: plain; the ServerName selects the instance
	checkTLS *tls.Config // the same for checks: they resume their TLS session, as each has a connection of its own
	connect  time.Duration
	maxIdle  int
	idleTime time.Duration

	engine atomic.Pointer[http1.Upstream] // the present way; see way

	mu      sync.Mutex
	left    []*http1.Upstream // guarded by mu: former ways that some still wait on, see forsake
	closed  bool              // guarded by mu: no connection is kept any more
	leaving bool              // guarded by mu: none is kept for the moment, see leave
	killed  bool              // guarded by mu: none is made any more
}

func (o *origin) same(addr string, cfg *tls.Config) bool {
	return o.addr == addr && (o.tls == nil) == (cfg == nil) && (cfg == nil || o.tls.ServerName == cfg.ServerName)
}

// way returns how the engine reaches the instance; it changes with the origin.
func (o *origin) way() *http1.Upstream {
	if u := o.engine.Load(); u != nil {
		return u
	}
	u := &http1.Upstream{Addr: o.addr, TLS: o.tls, MaxIdle: o.maxIdle, IdleFor: o.idleTime, Data: o} // keeps o among the ways
	if o.engine.CompareAndSwap(nil, u) {
		o.mu.Lock()
		if o.closed || o.leaving {
			u.Retire()
		}
		if o.killed {
			u.Kill()
		}
		o.mu.Unlock()
		return u
	}
	return o.engine.Load()
}

// over reports whether the instance is left.
func (o *origin) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}

// distrusted reports whether kill was called.
func (o *origin) distrusted() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.killed
}

// close lets running exchanges finish and keeps no connection after them.
func (o *origin) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if u := o.engine.Load(); u != nil {
		u.Retire()
	}
}

// leave says whether the agent behind o is about to go for a moment: then every
// connection ends with the request that it carries, so that none is cut when the
// agent closes. It reports whether that is news.
func (o *origin) leave(leaving bool) (news bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if news = o.leaving != leaving; !news {
		return false
	}
	o.leaving = leaving
	if leaving {
		if u := o.engine.Load(); u != nil {
			u.Retire()
		}
	} else if !o.closed {
		o.engine.Store(nil) // the retired one keeps none; the next is made with the next request
	}
	return true
}

// forsake ends the connections of those who could get their answer elsewhere, because the machine behind them is
// silent: they would wait in vain. Who has a session there goes on to wait. New connections are welcome.
func (o *origin) forsake() {
	way := o.engine.Swap(nil)
	if way == nil {
		return
	}
	way.Leave()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.left = append(o.left, way)
}

// cut ends every connection to a silent machine, because the sessions there are given up. New
// connections are welcome.
func (o *origin) cut() {
	way := o.engine.Swap(nil)
	o.mu.Lock()
	ways := o.left
	o.left = nil
	o.mu.Unlock()
	if way != nil {
		ways = append(ways, way)
	}
	for _, u := range ways {
		u.Kill()
	}
}

// returned forgets those of the ways that were left on which nobody waits any more.
func (o *origin) returned() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.left = slices.DeleteFunc(o.left, func(u *http1.Upstream) bool { return u.Conns() == 0 })
}

// kill cuts every connection at once, and none is made any more: the member behind it
// is no longer trusted.
func (o *origin) kill() {
	o.close()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.killed = true
	if u := o.engine.Load(); u != nil {
		u.Kill()
	}
	for _, u := range o.left {
		u.Kill()
	}
}
