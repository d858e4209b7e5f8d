package health

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"portico/internal/descriptors"
)

// TestChecksOfABeatShareALook: descriptors are opened to see whether visitors could have some, once for all checks of a beat.
func TestChecksOfABeatShareALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		traffic := descriptors.New(slog.New(slog.DiscardHandler))
		var room Room
		beat := func() {
			if !room.There(traffic) {
				t.Error("there is room, and it says that there is none")
			}
		}
		beat()
		if n := testing.AllocsPerRun(10, beat); n != 0 {
			t.Errorf("a check that shares a look makes %v allocations: it has looked itself", n)
		}
		next := func() { time.Sleep(2 * tellAfter); beat() }
		if testing.AllocsPerRun(10, next) == 0 {
			t.Error("the checks of the next beat have not looked")
		}
	})
}
