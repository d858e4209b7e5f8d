package access

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Wrong passwords are free for the first few, then cost a pause that doubles
// up to a minute and is forgotten after a quiet quarter of an hour. While it
// lasts, right passwords from there are refused as well, or the pause would
// slow nobody. Wrong tokens are counted apart, and only they have to wait.
const (
	throttleFree   = 5
	throttleFirst  = time.Second
	throttleMost   = time.Minute
	throttleForget = 15 * time.Minute
	throttleTable  = 4096 // keys remembered; the oldest goes first
)

// throttle counts failures per key (an address, an account). Its table is
// bounded: somebody with many addresses can push others out of it, and gains
// no more than the few free guesses of each.
type throttle struct {
	mu   sync.Mutex
	keys map[string]*failures // guarded by mu
}

// failures are those of one key. The limiter has one attempt, which comes back after the pause that
// the last failure cost.
type failures struct {
	*rate.Limiter
	count int
	last  time.Time
}

func newThrottle() *throttle { return &throttle{keys: map[string]*failures{}} }

// wait returns how long key must wait before its next attempt.
func (t *throttle) wait(key string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.keys[key]
	if f == nil {
		return 0
	}
	if now.Sub(f.last) > throttleForget {
		delete(t.keys, key)
		return 0
	}
	next := f.ReserveN(now, 1)
	defer next.CancelAt(now) // it is only looked at: an attempt is taken by its failure
	return next.DelayFrom(now)
}

// fail counts a wrong credential and returns how many there were and the pause it costs.
func (t *throttle) fail(key string, now time.Time) (count int, pause time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.keys[key]
	if f == nil {
		if len(t.keys) >= throttleTable {
			t.evictLocked(now)
		}
		f = &failures{Limiter: rate.NewLimiter(rate.Every(throttleFirst), 1)}
		t.keys[key] = f
	}
	f.count++
	f.last = now
	if f.count <= throttleFree {
		return f.count, 0
	}
	pause = min(throttleMost, throttleFirst<<min(f.count-throttleFree-1, 10))
	f.Limiter = rate.NewLimiter(rate.Every(pause), 1) // of the pause before, nothing counts: who guesses several times at once gains nothing
	f.AllowN(now, 1)
	return f.count, pause
}

// pass forgets key's failures after a right credential.
func (t *throttle) pass(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.keys, key)
}

// evictLocked drops what is forgotten, or else the key that failed longest ago.
func (t *throttle) evictLocked(now time.Time) {
	var oldest string
	var at time.Time
	for key, f := range t.keys {
		if now.Sub(f.last) > throttleForget {
			delete(t.keys, key)
			continue
		}
		if oldest == "" || f.last.Before(at) {
			oldest, at = key, f.last
		}
	}
	if len(t.keys) >= throttleTable {
		delete(t.keys, oldest)
	}
}

// throttleKey turns a client address into a key: IPv6 by its /64, which is what
// one customer gets.
func throttleKey(remoteAddr string) string {
	ap, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return remoteAddr
	}
	addr := ap.Addr().Unmap()
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return addr.String()
	}
	return prefix.String()
}
