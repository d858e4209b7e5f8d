package main

import (
	"math/rand/v2"
	"slices"
)

// draws is how often the turns are drawn anew to see how far a figure depends on which turns there were.
const draws = 300

// between returns the span that a figure has in nine of ten draws of as many of n turns, with replacement. Proxies take turns, so
// what is drawn for one is drawn for the others: what the machine did in a round hits both sides of a ratio.
func between(n int, figure func(pick []int) float64) (low, high float64) {
	r := rand.New(rand.NewPCG(1, 2)) // the same span for the same turns
	pick, seen := make([]int, n), make([]float64, draws)
	for i := range seen {
		for j := range pick {
			pick[j] = r.IntN(n)
		}
		seen[i] = figure(pick)
	}
	slices.Sort(seen)
	return seen[draws/20], seen[draws-1-draws/20]
}

// cpu is the median CPU time a request of those turns that pick names; nil: of all.
func cpu(turns []sample, pick []int) float64 {
	var v []float64
	each(turns, pick, func(s *sample) { v = append(v, s.cpu) })
	slices.Sort(v)
	return v[len(v)/2]
}

// p999 is the 99.9th percentile, in microseconds, of the answers of several turns together. One turn has a few dozen answers beyond
// it, which a single hiccup of the machine makes up; the median of such figures says what a usual turn has, not what visitors meet.
func p999(turns []sample, pick []int) float64 {
	var h histogram
	each(turns, pick, func(s *sample) {
		for _, b := range s.Buckets {
			h[b[0]] += uint32(b[1])
		}
	})
	return h.quantile(.999)
}

// middle999 is the median of the turns' 99.9th percentiles, in microseconds: what a usual turn has.
func middle999(turns []sample, pick []int) float64 {
	var v []float64
	each(turns, pick, func(s *sample) { v = append(v, s.P999) })
	slices.Sort(v)
	return v[len(v)/2]
}

func each(turns []sample, pick []int, f func(*sample)) {
	if pick == nil {
		for i := range turns {
			f(&turns[i])
		}
	}
	for _, i := range pick {
		f(&turns[i])
	}
}
