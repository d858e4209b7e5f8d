package membership

import (
	"net/netip"
	"sync"
	"time"
)

// limiter allows so many events a second from each address. Its memory is
// bounded: when too many addresses are known, those at rest are forgotten, and
// if none is, new addresses share one bucket.
type limiter struct {
	rate  float64 // events a second
	burst float64

	mu      sync.Mutex
	buckets map[netip.Prefix]bucket
	swept   time.Time // when those at rest were last forgotten: once a second is enough
}

type bucket struct {
	tokens float64
	at     time.Time
}

const maxBuckets = 4096

func newLimiter(rate, burst float64) *limiter {
	return &limiter{rate: rate, burst: burst, buckets: map[netip.Prefix]bucket{}}
}

// allow reports whether an event from addr may happen now.
func (l *limiter) allow(addr netip.Addr, now time.Time) bool {
	from := subnet(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.buckets[from]
	if !known && len(l.buckets) >= maxBuckets {
		if now.Sub(l.swept) >= time.Second {
			l.swept = now
			l.sweep(now)
		}
		if len(l.buckets) >= maxBuckets {
			from = netip.Prefix{}
			b, known = l.buckets[from]
		}
	}
	if !known {
		b = bucket{l.burst, now}
	}
	b.tokens = min(l.burst, b.tokens+l.rate*now.Sub(b.at).Seconds())
	b.at = now
	ok := b.tokens >= 1
	if ok {
		b.tokens--
	}
	l.buckets[from] = b
	return ok
}

// sweep forgets addresses whose bucket is full again.
func (l *limiter) sweep(now time.Time) {
	for a, b := range l.buckets {
		if b.tokens+l.rate*now.Sub(b.at).Seconds() >= l.burst {
			delete(l.buckets, a)
		}
	}
}

// subnet is what counts as one address: with IPv6 everybody has 2^64 of them.
func subnet(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
