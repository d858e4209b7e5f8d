// Package strangers bounds how many connections a listener has of which nobody knows yet who is at the other end, so that
// people who are let in nowhere cannot have all descriptors of the process. It refuses nobody: who comes when all places are
// taken gets that of another one, the oldest of the address that has most. Whoever proves in their first request who they are
// is not among them for longer than that takes.
package strangers

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// quiet is how often the log may be told that strangers are closed.
const quiet = time.Minute

// Strangers are the connections of one listener. It is safe for concurrent use.
type Strangers struct {
	what string // the listener's name, for the log
	most func() int
	log  *slog.Logger

	mu     sync.Mutex
	all    []*Stranger        // in the order in which they came; guarded by mu
	from   map[netip.Addr]int // how many of them, by address; guarded by mu
	closed int                // guarded by mu
	said   time.Time          // guarded by mu
}

// New returns the strangers of a listener. There are at most most() of them, and one if that is less.
func New(what string, most func() int, log *slog.Logger) *Strangers {
	return &Strangers{what: what, most: most, log: log, from: map[netip.Addr]int{}}
}

// Stranger is one connection.
type Stranger struct {
	of   *Strangers
	conn net.Conn
	from netip.Addr
	left bool // guarded by of.mu
}

// Enter takes note of a connection that was accepted just now, and closes another one where there are too many.
func (s *Strangers) Enter(c net.Conn) *Stranger {
	x := &Stranger{of: s, conn: c, from: addressOf(c)}
	s.mu.Lock()
	var out []*Stranger
	for len(s.all) > 0 && len(s.all) >= s.most() {
		v := s.leastLocked()
		s.leaveLocked(v)
		out = append(out, v)
	}
	s.all = append(s.all, x)
	s.from[x.from]++
	s.closed += len(out)
	if now := time.Now(); len(out) > 0 && now.Sub(s.said) >= quiet {
		s.said = now
		s.log.Warn("strangers have too many connections, the oldest are closed: let only those reach the port who need to",
			"listener", s.what, "from", out[0].from.String(), "most", s.most(), "closed", s.closed)
	}
	s.mu.Unlock()
	for _, v := range out {
		_ = v.conn.Close()
	}
	return x
}

// Leave says that it is a stranger no more: it has proved who it is, or has ended. It may be called twice.
func (x *Stranger) Leave() {
	x.of.mu.Lock()
	defer x.of.mu.Unlock()
	x.of.leaveLocked(x)
}

func (s *Strangers) leaveLocked(x *Stranger) {
	if x.left {
		return
	}
	x.left = true
	for i, y := range s.all {
		if y == x {
			s.all = append(s.all[:i], s.all[i+1:]...)
			break
		}
	}
	if s.from[x.from]--; s.from[x.from] == 0 {
		delete(s.from, x.from)
	}
}

// leastLocked is the one who loses its place: the oldest of the address that has most.
func (s *Strangers) leastLocked() *Stranger {
	least := s.all[0]
	for _, x := range s.all {
		if s.from[x.from] > s.from[least.from] {
			least = x
		}
	}
	return least
}

// addressOf is where a connection comes from; of IPv6 the network, as one machine has all addresses of it.
func addressOf(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	addr := ap.Addr().Unmap().WithZone("")
	if addr.Is4() {
		return addr
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return network.Addr()
}
