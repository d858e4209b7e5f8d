package balancer

import (
	"testing"
	"time"
)

// TestCheckFromBeforeProvesNothing: a check that was under way when a connection failed does not bring the instance up. It may be the last
// that an agent answers which has closed its listener: who waits for the instance would come too early, and wait no second time.
func TestCheckFromBeforeProvesNothing(t *testing.T) {
	h := Health{}
	passed := func(took time.Duration, now int64) {
		h.Observe(Evidence{From: FromCheck, OK: true, Code: "L7OK", Latency: took}, HealthRules{}, now)
	}
	passed(time.Millisecond, 1000)
	if h.State != Up {
		t.Fatalf("%v after the first check", h.State)
	}
	h.Observe(Evidence{From: FromTraffic, Detail: "connect to instance"}, HealthRules{}, 5000)
	if h.State != Suspect {
		t.Fatalf("%v after a failed connection", h.State)
	}
	passed(200*time.Millisecond, 5100)
	if h.State != Suspect || h.doubt != 5000 {
		t.Errorf("%v, in doubt since %d, after a check that began 100 ms before the connection failed", h.State, h.doubt)
	}
	passed(20*time.Millisecond, 5150)
	if h.State != Up || h.doubt != 0 {
		t.Errorf("%v, in doubt since %d, after a check that began behind it", h.State, h.doubt)
	}
}
