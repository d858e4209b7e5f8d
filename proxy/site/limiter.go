package site

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxLimiters bounds the addresses that a site's limiter remembers. When it is
// full, the rest share one allowance: a flood from many addresses is then held
// as a whole instead of filling memory.
const maxLimiters = 16384

// limiter bounds the requests of each client address of one site. The zero value
// is ready and limits nothing.
type limiter struct {
	mu     sync.Mutex
	spec   Rate                        // guarded by mu
	byAddr map[netip.Prefix]*allowance // guarded by mu
	rest   *rate.Limiter               // guarded by mu: for addresses beyond maxLimiters
}

type allowance struct {
	*rate.Limiter
	last time.Time
}

// allow reports whether a request of addr is within the rate at now. IPv6
// visitors count by /64, since each of them has that many addresses.
func (l *limiter) allow(spec Rate, addr netip.Addr, now time.Time) bool {
	if spec.PerSecond == 0 {
		return true
	}
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	key, _ := addr.Prefix(bits)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spec != spec || l.byAddr == nil {
		l.spec, l.byAddr = spec, map[netip.Prefix]*allowance{}
		l.rest = rate.NewLimiter(rate.Limit(spec.PerSecond), spec.Burst)
	}
	a := l.byAddr[key]
	if a == nil {
		if len(l.byAddr) >= maxLimiters {
			return l.rest.AllowN(now, 1)
		}
		a = &allowance{Limiter: rate.NewLimiter(rate.Limit(spec.PerSecond), spec.Burst)}
		l.byAddr[key] = a
	}
	a.last = now
	return a.AllowN(now, 1)
}

// sweep forgets addresses whose allowance is full again.
func (l *limiter) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spec.PerSecond == 0 {
		return
	}
	full := time.Duration(float64(l.spec.Burst) / l.spec.PerSecond * float64(time.Second))
	for key, a := range l.byAddr {
		if now.Sub(a.last) > full {
			delete(l.byAddr, key)
		}
	}
}
