package exchange

import (
	"crypto/tls"
	"sync/atomic"
	"time"
)

// Upstream is a place to send requests to. It is known by its pointer: every Upstream has connections of its own. All fields but the
// counters are constant once it is in use.
type Upstream struct {
	Addr      string        // host:port; a name is resolved when a connection is made
	TLS       *tls.Config   // nil: plain
	MaxIdle   int           // idle connections kept for each loop, 0: 64
	IdleFor   time.Duration // an idle connection is closed after this, 0: 30 s
	SendProxy int           // PROXY protocol version to open connections with: 0 none, 1 or 2; such connections are not shared
	HTTP2     bool          // it speaks HTTP/2 with prior knowledge: many requests share a connection; not with SendProxy
	Data      any           // the handler's own

	retired atomic.Bool
	killed  atomic.Bool
	left    atomic.Bool
	conns   atomic.Int64
}

// Retire makes drivers close the upstream's idle connections soon and its busy ones after their request.
func (u *Upstream) Retire() { u.retired.Store(true) }

// Kill retires the upstream and makes drivers cut its busy connections within about a second: it is no longer trusted.
func (u *Upstream) Kill() {
	u.killed.Store(true)
	u.Retire()
}

// Leave retires the upstream and makes drivers cut within about a second the connections of those requests that have no answer yet
// and could get one elsewhere (not Decision.Stays): it is silent.
func (u *Upstream) Leave() {
	u.left.Store(true)
	u.Retire()
}

// Left reports whether Leave was called.
func (u *Upstream) Left() bool { return u.left.Load() }

// Killed reports whether Kill was called.
func (u *Upstream) Killed() bool { return u.killed.Load() }

// IdleTime is IdleFor with its default.
func (u *Upstream) IdleTime() time.Duration {
	if u.IdleFor == 0 {
		return 30 * time.Second
	}
	return u.IdleFor
}

// Retired reports whether Retire was called.
func (u *Upstream) Retired() bool { return u.retired.Load() }

// Conns returns how many connections drivers hold to the upstream, idle ones included.
func (u *Upstream) Conns() int64 { return u.conns.Load() }

// Count is for drivers: it adds to the counts of connections.
func (u *Upstream) Count(n int64) {
	u.conns.Add(n)
}
