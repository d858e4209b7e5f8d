package meter_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"portico/balancer/meter"
)

const t0 = 1_700_000_000_000 // Unix milliseconds

func TestRate(t *testing.T) {
	var r meter.Rate
	for i := range int64(5000) { // 1000 a second for 5 seconds
		r.Add(t0 + i)
	}
	if n := r.PerSecond(t0 + 5000); n < 990 || n > 1010 {
		t.Errorf("%.0f a second, want 1000", n)
	}
	if n := r.PerSecond(t0 + 5500); n < 490 || n > 510 {
		t.Errorf("half a second later %.0f, want 500", n)
	}
	if n := r.PerSecond(t0 + 7000); n != 0 {
		t.Errorf("two seconds later %.0f, want 0", n)
	}
	if r.Max() != 1000 || r.Total() != 5000 {
		t.Errorf("peak %d, total %d", r.Max(), r.Total())
	}
}

func TestHistogram(t *testing.T) {
	var h, other meter.Histogram
	rng := rand.New(rand.NewPCG(1, 2))
	var values []time.Duration
	var sum time.Duration
	for i := range 20_000 {
		d := time.Duration(rng.ExpFloat64() * float64(30*time.Millisecond))
		values = append(values, d)
		sum += d
		if i%2 == 0 {
			h.Observe(d)
		} else {
			other.Observe(d)
		}
	}
	slices.Sort(values)
	h.Merge(&other)
	s := h.Snapshot()
	if s.Count != 20_000 || s.Sum != sum || s.Max != values[len(values)-1] || s.Mean() != sum/20_000 {
		t.Errorf("count %d, sum %s, max %s, mean %s", s.Count, s.Sum, s.Max, s.Mean())
	}
	for _, q := range []float64{0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1} {
		want := values[int(q*float64(len(values)-1))]
		if got := s.Quantile(q); got < want || float64(got) > float64(want)*1.26+16000 {
			t.Errorf("quantile %v is %s, want %s and up to a quarter more", q, got, want)
		}
	}
	var extreme meter.Histogram
	for _, d := range []time.Duration{-time.Second, 0, time.Nanosecond, 1000 * time.Hour} {
		extreme.Observe(d)
	}
	e := extreme.Snapshot()
	if e.Count != 4 || e.Quantile(1) != 1000*time.Hour {
		t.Errorf("extremes: %d, %s", e.Count, e.Quantile(1))
	}
	if (&meter.HistogramSnapshot{}).Quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
}
