package seal_test

import (
	"sync"
	"testing"
	"time"

	"portico/balancer/seal"
	"portico/tests/support/seals"
)

// TestSealWhileTheStackGrows seals on fresh stacks at every depth, so that somewhere the
// stack is moved while a MAC is made: the message is on it.
func TestSealWhileTheStackGrows(t *testing.T) {
	s := mustSealer(t, "shop", []seal.Key{seals.NewKey(1, time.UnixMilli(t0))})
	want := string(s.Seal(nil, seal.Cookie{Session: 7, Issued: t0 / 1000, Start: t0 / 1000}))
	var wg sync.WaitGroup
	for depth := range 20_000 {
		wg.Go(func() {
			if got := string(deep(s, depth%2000)); got != want {
				t.Errorf("at depth %d: %s, want %s", depth%2000, got, want)
			}
		})
		if depth%64 == 0 {
			wg.Wait()
		}
	}
	wg.Wait()
}

//go:noinline
func deep(s *seal.Sealer, n int) []byte {
	if n == 0 {
		return s.Seal(nil, seal.Cookie{Session: 7, Issued: t0 / 1000, Start: t0 / 1000})
	}
	return deep(s, n-1)
}
