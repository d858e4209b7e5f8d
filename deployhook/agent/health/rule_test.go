package health

import (
	"strings"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/internal/units"
)

func TestHealth(t *testing.T) {
	s := sites.Health{Rise: 2, Fall: 3}
	for _, tt := range []struct{ checks, states string }{
		{"++", "-U"}, {"+-+", "---"}, {"+-++", "---U"}, {"++--+", "-UUUU"},
		{"++---", "-UUUD"}, {"++--+---", "-UUUUUUD"}, {"++---+", "-UUUDD"}, {"++---++", "-UUUDDU"},
	} {
		h := &Rule{}
		var got strings.Builder
		for _, c := range tt.checks {
			h.Observe(c == '+', s)
			switch {
			case h.Healthy:
				got.WriteByte('U')
			case h.Ever:
				got.WriteByte('D')
			default:
				got.WriteByte('-')
			}
		}
		if got.String() != tt.states {
			t.Errorf("checks %s give %s, want %s", tt.checks, got.String(), tt.states)
		}
	}
}

// TestProbeInterval: a start is watched closely at first, then as the setting says.
func TestProbeInterval(t *testing.T) {
	s := sites.Health{Interval: units.Duration(10 * time.Second)}
	h := &Rule{}
	var spent time.Duration
	for range 60 {
		h.Observe(false, s)
		spent += h.Interval(s)
	}
	if d := h.Interval(s); d < 9*time.Second || d > 11*time.Second {
		t.Errorf("in the end checks come every %v", d)
	}
	h = &Rule{}
	h.Observe(true, s)
	if d := h.Interval(s); d > 200*time.Millisecond {
		t.Errorf("the second check of a start comes after %v", d)
	}
	h.Observe(true, s)
	for number := range 200 {
		if d := NextTurn(10*time.Second, number); d < 2*time.Second || d > 13*time.Second {
			t.Errorf("a healthy instance with the number %d is checked in %v", number, d)
		}
	}
}
