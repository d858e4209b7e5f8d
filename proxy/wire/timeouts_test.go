package wire_test

import (
	"testing"
	"time"

	"portico/proxy/wire"
)

// TestRest: what one side has ended gets no more time than a body, and never more than it had.
func TestRest(t *testing.T) {
	for _, tt := range []struct{ body, whole, want time.Duration }{
		{30 * time.Second, time.Hour, 30 * time.Second},
		{30 * time.Second, time.Second, time.Second},
		{30 * time.Second, -1, 30 * time.Second},
		{-1, time.Hour, time.Hour},
		{-1, -1, -1},
	} {
		if got := (&wire.Timeouts{Body: tt.body}).Rest(tt.whole); got != tt.want {
			t.Errorf("body %v, whole %v: got %v, want %v", tt.body, tt.whole, got, tt.want)
		}
	}
}
