package deployhook

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestWaitAtRest: a poll that waits looks whether its member is doubted and goes on, until something has changed, somebody doubts or
// the time is over. Whoever calls works out the member's wanted state each time that it returns.
func TestWaitAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		look := time.NewTicker(doubtEvery)
		defer look.Stop()
		changed := make(chan struct{}, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		looks := 0
		well := func() bool { looks++; return false }
		began := time.Now()
		time.AfterFunc(10*doubtEvery+time.Second, func() { changed <- struct{}{} })
		if awaitChange(ctx, changed, look.C, well) || looks != 10 || time.Since(began) != 10*doubtEvery+time.Second {
			t.Errorf("after %v and %d looks it returned", time.Since(began), looks)
		}
		if began = time.Now(); !awaitChange(ctx, changed, look.C, func() bool { return true }) || time.Since(began) > doubtEvery {
			t.Error("a doubted member is not told of")
		}
		if awaitChange(ctx, changed, look.C, well) || ctx.Err() == nil {
			t.Error("it returned before the end")
		}
	})
}
