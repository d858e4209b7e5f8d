package meter

import "sync/atomic"

// Rate counts events per second, as HAProxy's freq counters do: the events of
// the present second, of the one before, and the greatest second so far. The
// zero value is ready. Under contention at the turn of a second a handful of
// events may be counted in the wrong one.
type Rate struct {
	second    atomic.Int64
	cur, prev atomic.Uint32
	max       atomic.Uint32
	total     atomic.Uint64 // up to the turn of the present second
}

// Add counts one event at now (Unix milliseconds).
func (r *Rate) Add(now int64) {
	r.Turn(now)
	r.cur.Add(1)
}

// Turn begins the second of now, if that is another one than the last.
func (r *Rate) Turn(now int64) {
	second := now / 1000
	s := r.second.Load()
	if s >= second || !r.second.CompareAndSwap(s, second) {
		return
	}
	n := r.cur.Swap(0)
	r.total.Add(uint64(n))
	r.Peak(n)
	if s+1 != second {
		n = 0
	}
	r.prev.Store(n)
}

// PerSecond returns the events of the last second: the present one, and of the
// one before the share that still lies within it.
func (r *Rate) PerSecond(now int64) float64 {
	r.Turn(now)
	rest := float64(1000-now%1000) / 1000
	return float64(r.cur.Load()) + float64(r.prev.Load())*rest
}

// Max returns the greatest number of events in one second.
func (r *Rate) Max() uint32 { return max(r.max.Load(), r.cur.Load()) }

// Total returns the number of events ever counted.
func (r *Rate) Total() uint64 { return r.total.Load() + uint64(r.cur.Load()) }

// LastSecond returns the events of the last whole second.
func (r *Rate) LastSecond(now int64) uint32 {
	r.Turn(now)
	return r.prev.Load()
}

// Peak notes that so many events came in one second.
func (r *Rate) Peak(n uint32) {
	for m := r.max.Load(); n > m && !r.max.CompareAndSwap(m, n); m = r.max.Load() {
	}
}

// Merge adds to the total what another has counted.
func (r *Rate) Merge(o *Rate) { r.total.Add(o.Total()) }
