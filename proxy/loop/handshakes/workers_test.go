package handshakes

import (
	"runtime"
	"sync"
	"testing"
)

// TestShakersAreKept: a goroutine that has made a handshake makes the next one, some wait for more, and none is left in the end.
func TestShakersAreKept(t *testing.T) {
	var k Workers
	const many = 4 * keptWorkers
	idle := func() int {
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.idle)
	}
	var begun, all sync.WaitGroup
	others := runtime.NumGoroutine()
	let := make(chan struct{})
	begun.Add(many)
	for range many {
		all.Add(1)
		k.Do(func() { begun.Done(); <-let; all.Done() })
	}
	begun.Wait() // none has waited for another one
	close(let)
	all.Wait()
	for idle() < keptWorkers || runtime.NumGoroutine() > others+keptWorkers {
		runtime.Gosched() // they are on their way; one that has not ended yet could be kept in the place of another
	}
	before := make(map[chan func()]bool)
	for _, next := range k.idle {
		before[next] = true
	}
	for range 10 * many {
		done := make(chan struct{})
		k.Do(func() { close(done) })
		<-done
		for idle() < keptWorkers {
			runtime.Gosched()
		}
	}
	for _, next := range k.idle {
		if !before[next] {
			t.Error("a goroutine was made while others waited")
		}
	}
	k.Close()
	if n := idle(); n != 0 {
		t.Errorf("%d goroutines still wait", n)
	}
	ran := make(chan struct{})
	k.Do(func() { close(ran) }) // one that comes late is made all the same
	<-ran
	k.wg.Wait()
}
