package agent

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
		h := newHealth()
		var got strings.Builder
		for _, c := range tt.checks {
			h.observe(c == '+', s)
			switch {
			case h.healthy:
				got.WriteByte('U')
			case h.ever:
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
	h := newHealth()
	var spent time.Duration
	for range 60 {
		h.observe(false, s)
		spent += h.interval(s)
	}
	if d := h.interval(s); d < 9*time.Second || d > 11*time.Second {
		t.Errorf("in the end checks come every %v", d)
	}
	h = newHealth()
	h.observe(true, s)
	if d := h.interval(s); d > 200*time.Millisecond {
		t.Errorf("the second check of a start comes after %v", d)
	}
	h.observe(true, s)
	for number := range 200 {
		if d := beat(10*time.Second, number); d < 2*time.Second || d > 13*time.Second {
			t.Errorf("a healthy instance with the number %d is checked in %v", number, d)
		}
	}
}
