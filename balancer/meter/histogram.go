// Package meter counts: durations in histograms, events a second, peaks. Everything can be
// counted from many goroutines at once, without a lock.
package meter

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A histogram has four buckets for each doubling of time, from 64 µs to 35
// minutes: a quantile is at most a quarter too high, and with the middle of a
// bucket an eighth off, which is finer than what a network repeats.
const (
	histUnit    = 16 * time.Microsecond // the resolution below the first doubling
	histBuckets = 104
)

// Histogram counts durations in fixed logarithmic buckets. The zero value is
// ready, and small: buckets come with the first value. It is safe for concurrent use.
type Histogram struct {
	buckets atomic.Pointer[buckets] // nil: no values
	sum     atomic.Int64            // nanoseconds
	longest atomic.Int64

	// The mean of about the last 1024 values, worked out by Tick.
	recent             atomic.Int64
	tickCount, tickSum int64 // owned by Tick
}

type buckets [histBuckets]atomic.Uint64

// bucket returns the index for d.
func bucket(d time.Duration) int {
	if d < 0 {
		return 0
	}
	n := uint64(d / histUnit)
	if n < 4 {
		return int(n)
	}
	exp := bits.Len64(n) - 3 // n>>exp has three bits: 4..7
	return min(exp*4+int(n>>exp), histBuckets-1)
}

// upper returns the end of a bucket, which does not belong to it.
func upper(i int) time.Duration {
	if i < 4 {
		return time.Duration(i+1) * histUnit
	}
	exp := i/4 - 1
	return time.Duration(uint64(i%4+5)<<exp) * histUnit
}

// Observe counts d.
func (h *Histogram) Observe(d time.Duration) {
	b := h.buckets.Load()
	if b == nil {
		b = h.begin()
	}
	b[bucket(d)].Add(1)
	h.sum.Add(int64(d))
	if int64(d) > h.longest.Load() {
		Raise(&h.longest, int64(d))
	}
}

// begin makes the buckets.
func (h *Histogram) begin() *buckets {
	h.buckets.CompareAndSwap(nil, new(buckets))
	return h.buckets.Load()
}

// Snapshot returns a copy.
func (h *Histogram) Snapshot() HistogramSnapshot {
	var s HistogramSnapshot
	b := h.buckets.Load()
	if b == nil {
		return s
	}
	for i := range b {
		n := b[i].Load()
		s.Counts[i] = n
		s.Count += n
	}
	s.Sum = time.Duration(h.sum.Load())
	s.Max = time.Duration(h.longest.Load())
	s.Recent = time.Duration(h.recent.Load())
	return s
}

// total returns the number of values.
func (h *Histogram) total() (n int64) {
	b := h.buckets.Load()
	if b == nil {
		return 0
	}
	for i := range b {
		n += int64(b[i].Load())
	}
	return n
}

// Tick moves the recent mean towards the values since the last tick, by the share
// that they are of 1024.
func (h *Histogram) Tick() {
	sum := h.sum.Load()
	if sum == h.tickSum {
		return
	}
	count := h.total()
	n := count - h.tickCount
	if n <= 0 {
		return
	}
	mean := (sum - h.tickSum) / n
	old := h.recent.Load()
	if n >= 1024 || h.tickCount == 0 {
		old = mean
	}
	h.recent.Store(old + (mean-old)*min(n, 1024)/1024)
	h.tickCount, h.tickSum = count, sum
}

// Merge adds the values of another histogram. Recent means are joined by how many
// values each has.
func (h *Histogram) Merge(o *Histogram) {
	theirs := o.buckets.Load()
	if theirs == nil {
		return
	}
	if n, more := h.total(), o.total(); n+more > 0 {
		h.recent.Store((h.recent.Load()*n + o.recent.Load()*more) / (n + more))
	}
	mine := h.begin()
	for i := range theirs {
		mine[i].Add(theirs[i].Load())
	}
	h.sum.Add(o.sum.Load())
	Raise(&h.longest, o.longest.Load())
}

// HistogramSnapshot is a histogram at one moment.
type HistogramSnapshot struct {
	Counts [histBuckets]uint64
	Count  uint64
	Sum    time.Duration
	Max    time.Duration
	Recent time.Duration // mean of about the last 1024 values, to the last tick
}

// Mean returns the average, 0 without values.
func (s *HistogramSnapshot) Mean() time.Duration {
	if s.Count == 0 {
		return 0
	}
	return s.Sum / time.Duration(s.Count)
}

// Quantile returns the duration below which the share q (0 to 1) of values lies:
// the end of the bucket that holds it, or the greatest value where that is less.
func (s *HistogramSnapshot) Quantile(q float64) time.Duration {
	want := uint64(q * float64(s.Count))
	var seen uint64
	for i, n := range s.Counts {
		if seen += n; n > 0 && seen >= want {
			if i == histBuckets-1 {
				break // it has no end
			}
			return min(upper(i), s.Max)
		}
	}
	return s.Max
}

// Raise sets peak to n if n is greater.
func Raise(peak *atomic.Int64, n int64) {
	for m := peak.Load(); n > m && !peak.CompareAndSwap(m, n); m = peak.Load() {
	}
}
