package proxy_test

import (
	"sync/atomic"
	"testing"
	"time"
)

// pace is for tests whose peers have to do something within a limit of the proxy's that is short, because the test waits for it as well.
type pace struct {
	slower time.Duration // how many times as much time as usual everything gets
	limit  time.Duration // of the proxy's
	late   atomic.Bool   // the machine took half of the limit for what takes next to nothing
}

// took notes how long something took that takes next to nothing.
func (p *pace) took(d time.Duration) {
	if d > p.limit/2 {
		p.late.Store(true)
	}
}

// atSomePace has f succeed within the limit. Where it does not and the machine was late, nothing is
// shown, and it is tried at a slower pace.
func atSomePace(t *testing.T, limit time.Duration, f func(p *pace) error) {
	t.Helper()
	for slower := time.Duration(1); ; slower *= 4 {
		p := &pace{slower: slower, limit: slower * limit}
		err := f(p)
		if err == nil {
			return
		}
		if !p.late.Load() || slower >= 16 {
			t.Fatal(err)
		}
	}
}
