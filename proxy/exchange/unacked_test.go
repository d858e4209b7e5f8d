package exchange

import (
	"math"
	"testing"
	"time"
)

// TestOwed: a side moves when it has taken more since it was seen to than it must, and then only.
func TestOwed(t *testing.T) {
	s := int64(time.Second)
	type look struct {
		at    int64
		bytes int
		rate  int
		moved bool
	}
	for name, looks := range map[string][]look{
		"takes nothing":             {{s, 100, 0, false}, {2 * s, 100, 0, false}, {3 * s, 100, 0, false}},
		"takes a byte":              {{s, 100, 0, false}, {2 * s, 99, 0, true}, {3 * s, 99, 0, false}, {4 * s, 0, 0, true}},
		"less than it must":         {{s, 1000, 64, false}, {2 * s, 937, 64, false}, {3 * s, 873, 64, false}},
		"as much as it must":        {{s, 1000, 64, false}, {2 * s, 936, 64, true}},
		"late, but enough":          {{s, 9000, 64, false}, {2 * s, 9000, 64, false}, {11 * s, 8360, 64, true}},
		"is given more meanwhile":   {{s, 100, 0, false}, {2 * s, 900, 0, false}, {3 * s, 800, 0, true}},
		"in one piece, all written": {{s, 100, 0, false}, {2 * s, 100 - 50, 0, true}, {3 * s, 100 - 50, 0, false}},
		"any rate":                  {{1, 100, math.MaxInt, false}, {2, 99, math.MaxInt, false}, {s, 0, 1, true}},
	} {
		var o Unacked
		for _, l := range looks {
			if got := o.Look(l.at, l.bytes, l.rate); got != l.moved {
				t.Errorf("%s: after %v with %d bytes: moved is %v", name, time.Duration(l.at), l.bytes, got)
			}
		}
	}
	var o Unacked
	o.Look(s, 100, 0)
	o.Forget()
	if o.Look(2*s, 50, 0) {
		t.Error("it was seen to move though what was known is forgotten")
	}
}

// TestOwedNext: a side is looked at soon, again and again, and not any more when there is nothing left to be taken.
func TestOwedNext(t *testing.T) {
	var o Unacked
	since, end := int64(time.Hour), int64(time.Hour+8*time.Second)
	if at := o.next(since, end); at != since+int64(time.Second) {
		t.Errorf("the first look is after %v", time.Duration(at-since))
	}
	o.Look(since+int64(time.Second), 10, 0)
	if at := o.next(since, end); at != since+int64(2*time.Second) {
		t.Errorf("the second look is after %v", time.Duration(at-since))
	}
	if at := o.next(since, since+1); at != since+int64(time.Second+lookRest) {
		t.Errorf("a look that is due at once is after %v", time.Duration(at-since))
	}
	o.Look(since+int64(2*time.Second), 0, 0)
	if at := o.next(since, end); at != 0 {
		t.Errorf("nothing is left, and there is a look after %v", time.Duration(at-since))
	}
}
