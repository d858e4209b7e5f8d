// Package origin is how each instance is reached: where it is, what becomes of the connections
// there when it leaves, falls silent or is no longer trusted. It moves no bytes: the drivers do.
package origin

import (
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"portico/proxy/exchange"
)

// ErrDial says that an instance could not be reached.
var ErrDial = errors.New("connect to instance")

// ErrBadResponse says that an instance was reached, and talks nonsense.
var ErrBadResponse = errors.New("instance answered with something that is not HTTP")

// TrialConnect is how long the last attempt to reach an instance may take, before a session on it is given
// up: a machine that is there answers in milliseconds, and visitors of a dead one wait for each of it.
const TrialConnect = time.Second

// backTime is how long after an agent's word that it is back a failed check may be one that began before.
const backTime = 2 * time.Second

// Address says where an instance is, and how connections to it are made and kept.
type Address struct {
	Addr     string
	Member   string      // whose instance it is, "" for a static one
	Key      string      // that member's fingerprint, "" where it is not known
	TLS      *tls.Config // nil: plain; the ServerName selects the instance
	Connect  time.Duration
	MaxIdle  int
	IdleTime time.Duration
	HTTP2    bool // it speaks HTTP/2 with prior knowledge
}

// Origin is how one instance is reached: where to connect, and what becomes of the connections there. The engine's driver makes and
// keeps them, in an [exchange.Upstream] that changes whenever those before it have to end.
type Origin struct {
	Address
	tickets tls.ClientSessionCache // of checks; nil: connections are plain

	present atomic.Pointer[exchange.Upstream] // nil: made when it is needed; see Upstream

	mu      sync.Mutex
	left    []*exchange.Upstream // guarded by mu: former ones that some still wait on, see EndUnpinned
	closed  bool                 // guarded by mu: no connection is kept any more
	leaving bool                 // guarded by mu: none is kept for the moment, see Leave
	back    time.Time            // guarded by mu: when the agent said that it is there again; zero: it has not left
	killed  bool                 // guarded by mu: none is made any more
}

// New returns the origin of an instance. No connection is made before it is needed.
func New(a Address) *Origin {
	o := &Origin{Address: a}
	if a.TLS != nil {
		o.tickets = tls.NewLRUClientSessionCache(1)
	}
	return o
}

// Same reports whether the origin leads to an address as it is now.
func (o *Origin) Same(a Address) bool {
	return o.Addr == a.Addr && (o.TLS == nil) == (a.TLS == nil) && (a.TLS == nil || o.TLS.ServerName == a.TLS.ServerName) &&
		o.Key == a.Key && o.IdleTime == a.IdleTime && o.HTTP2 == a.HTTP2
}

// CheckTLS returns TLS for a check, each of which has a connection of its own: it resumes the TLS session of the one
// before, which spares both sides the signatures, and exchanges keys by the cheapest means: what a
// check says is no secret that has to last. Who the other side is, and whether the
// cluster still knows it, is verified all the same. Nil: connections are plain.
func (o *Origin) CheckTLS() *tls.Config {
	if o.TLS == nil {
		return nil
	}
	c := o.TLS.Clone()
	c.ClientSessionCache = o.tickets
	c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
	return c
}

// Upstream returns what the drivers reach the instance by. It is another one after its connections had to end.
func (o *Origin) Upstream() *exchange.Upstream {
	if u := o.present.Load(); u != nil {
		return u
	}
	u := &exchange.Upstream{Addr: o.Addr, TLS: o.TLS, MaxIdle: o.MaxIdle, IdleFor: o.IdleTime, HTTP2: o.HTTP2, Data: o} // keeps o alive for byMember
	if o.present.CompareAndSwap(nil, u) {
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
	return o.present.Load()
}

// Among reports whether the present upstream is one of some.
func (o *Origin) Among(some []*exchange.Upstream) bool {
	return slices.Contains(some, o.present.Load())
}

// Leaves reports whether the agent has said that it goes for a moment.
func (o *Origin) Leaves() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.leaving
}

// Restarts reports whether the agent has said that it goes for a moment, and not that it is back, or only just: a check that
// began before may fail still.
func (o *Origin) Restarts() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.leaving || !o.back.IsZero() && time.Since(o.back) < backTime
}

// Distrusted reports whether Kill was called.
func (o *Origin) Distrusted() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.killed
}

// Close lets running exchanges finish and keeps no connection after them.
func (o *Origin) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if u := o.present.Load(); u != nil {
		u.Retire()
	}
}

// leave says whether the agent behind o is about to go for a moment: then every
// connection ends with the request that it carries, so that none is cut when the
// agent closes. It reports whether that is news.
func (o *Origin) leave(leaving bool) (news bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if news = o.leaving != leaving; !news {
		return false
	}
	o.leaving = leaving
	if !leaving {
		o.back = time.Now()
	}
	if leaving {
		if u := o.present.Load(); u != nil {
			u.Retire()
		}
	} else if !o.closed {
		o.present.Store(nil) // the retired one keeps none; the next is made with the next request
	}
	return true
}

// EndUnpinned ends the connections of those who could get their answer elsewhere, because the machine is silent and
// they would wait in vain. Whoever has a session there goes on to wait. New connections are welcome.
func (o *Origin) EndUnpinned() {
	u := o.present.Swap(nil)
	if u == nil {
		return
	}
	u.Leave()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.left = append(o.left, u)
}

// Cut ends every connection to a silent machine, because the sessions there are given up. New
// connections are welcome.
func (o *Origin) Cut() {
	present := o.present.Swap(nil)
	o.mu.Lock()
	all := o.left
	o.left = nil
	o.mu.Unlock()
	if present != nil {
		all = append(all, present)
	}
	for _, u := range all {
		u.Kill()
	}
}

// Returned forgets the former upstreams on which nobody waits any more.
func (o *Origin) Returned() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.left = slices.DeleteFunc(o.left, func(u *exchange.Upstream) bool { return u.Conns() == 0 })
}

// kill cuts every connection at once, and none is made any more: the member behind it
// is no longer trusted.
func (o *Origin) kill() {
	o.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.killed = true
	if u := o.present.Load(); u != nil {
		u.Kill()
	}
	for _, u := range o.left {
		u.Kill()
	}
}
