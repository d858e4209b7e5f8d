package frontdoor

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestNothingIsLeftToADeadSuccessor holds that a former process tries once, and not every minute for hours.
func TestNothingIsLeftToADeadSuccessor(t *testing.T) {
	for _, alive := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			stop, gone, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
			ends, left := 0, 0
			go func() {
				defer close(done)
				relayUntil(stop, gone, func() { ends++ }, func() bool { left++; return alive })
			}()
			time.Sleep(10*streamsLeave + time.Second)
			close(stop)
			synctest.Wait()
			close(gone)
			<-done
			want := 1
			if alive {
				want = 11
			}
			if left != want || ends != 1 {
				t.Errorf("alive %v: left %d times (want %d), passed the stop on %d times", alive, left, want, ends)
			}
		})
	}
}
