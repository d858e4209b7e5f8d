package records

import (
	"math/rand/v2"
	"testing"
)

// TestCutter: however ciphertext is cut, as many records end in it as were made, and it is even only between two.
func TestCutter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var stream []byte
		ends := map[int]bool{0: true}
		records := r.IntN(5)
		for range records {
			n := r.IntN(400)
			stream = append(stream, 23, 3, 3, byte(n>>8), byte(n))
			if n > 0 {
				stream = append(stream, make([]byte, n)...)
			}
			ends[len(stream)] = true
		}
		var c Cutter
		at, seen := 0, 0
		for at < len(stream) {
			k := 1 + r.IntN(len(stream)-at)
			if r.IntN(2) == 0 {
				k = min(k, 7)
			}
			seen += c.Feed(stream[at : at+k])
			at += k
			if c.Even() != ends[at] {
				t.Fatalf("after %d bytes of %v: even is %v", at, ends, c.Even())
			}
		}
		if seen != records {
			t.Fatalf("%d records, saw %d", records, seen)
		}
	}
}
