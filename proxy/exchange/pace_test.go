package exchange

import (
	"math"
	"testing"
	"time"

	"portico/proxy/exchange/account"
)

// TestPaceOfLargeMessages: however much has moved, more bytes never shorten the patience.
func TestPaceOfLargeMessages(t *testing.T) {
	for _, rate := range []int{1, 64, 1 << 20, math.MaxInt} {
		last := int64(0)
		for bytes := int64(1); bytes > 0; bytes *= 3 {
			for _, b := range []int64{bytes, 9_223_372_036, 9_223_372_037, math.MaxInt64} {
				if b < bytes {
					continue
				}
				p := pace{since: int64(time.Hour), bytes: b}
				at := p.deadline(0, 10*time.Second, rate)
				if floor := int64(time.Hour + 10*time.Second); at < floor {
					t.Fatalf("%d bytes at %d a second: the deadline is %v, before the grace of %v", b, rate, time.Duration(at), time.Duration(floor))
				}
				if b == bytes && at < last {
					t.Fatalf("%d bytes at %d a second: %v, less than for fewer", b, rate, time.Duration(at))
				} else if b == bytes {
					last = at
				}
			}
		}
	}
	p := pace{since: 1, bytes: 64 * 100}
	if at := p.deadline(0, time.Second, 64); at != 1+int64(101*time.Second) {
		t.Errorf("6400 bytes at 64 a second and a second of grace: %v", time.Duration(at))
	}
}

// TestStepsOfLongRequests: a step says when it was, in a request of 36 minutes and of years.
func TestStepsOfLongRequests(t *testing.T) {
	for _, d := range []time.Duration{0, time.Microsecond, 35 * time.Minute, 36 * time.Minute, 2 * time.Hour, 8 * 365 * 24 * time.Hour} {
		if got := account.NewStep(account.StepFinish, 7, d); got.At() != d || got.N != 7 || got.What != account.StepFinish {
			t.Errorf("a step after %v: %+v at %v", d, got, got.At())
		}
	}
	if got := account.NewStep(account.StepFinish, 0, math.MaxInt64); got.At() < 8*365*24*time.Hour {
		t.Errorf("a step beyond the last: %v", got.At())
	}
	if got := account.NewStep(account.StepFinish, 0, -time.Second); got.At() != 0 {
		t.Errorf("a step before the first: %v", got.At())
	}
}
