package agent

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"portico/internal/pause"
	"portico/membership/catalog"
)

// copyEvery is how often a proxy gets a copy of the report without any change. It is
// how the proxies that are not asked for the wanted state know that this agent lives,
// which they doubt after ten seconds.
const copyEvery = 4 * time.Second

// copiers bring copies of each report to the proxies that do not write it down. Each
// has its own pace, so that one that does not answer holds up no other.
type copiers struct {
	ctx  context.Context
	a    *Agent
	wg   sync.WaitGroup
	list map[catalog.Peer]*copier
}

type copier struct {
	dirty chan struct{} // capacity 1
	stop  context.CancelFunc
}

func newCopiers(ctx context.Context, a *Agent) *copiers {
	return &copiers{ctx: ctx, a: a, list: map[catalog.Peer]*copier{}}
}

// set makes these the proxies that get copies.
func (c *copiers) set(peers []catalog.Peer) {
	keep := make(map[catalog.Peer]bool, len(peers))
	for _, x := range peers {
		keep[x] = true
		if c.list[x] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(c.ctx)
		one := &copier{dirty: make(chan struct{}, 1), stop: cancel}
		c.list[x] = one
		signal(one.dirty)
		c.wg.Go(func() { c.a.copyTo(ctx, x, one.dirty) })
	}
	for x, one := range c.list {
		if !keep[x] {
			one.stop()
			delete(c.list, x)
		}
	}
}

// wake has every copy sent soon.
func (c *copiers) wake() {
	for _, one := range c.list {
		signal(one.dirty)
	}
}

func (c *copiers) stop() {
	c.set(nil)
	c.wg.Wait()
}

// copyTo sends copies to one proxy until ctx ends.
func (a *Agent) copyTo(ctx context.Context, x catalog.Peer, dirty <-chan struct{}) {
	tick := time.NewTicker(pause.Jitter(copyEvery))
	defer tick.Stop()
	for failed := 0; ; {
		select {
		case <-dirty:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		r := a.report()
		r.Copy = true
		body, err := json.Marshal(r)
		var answer reportAnswer
		if err == nil {
			answer, err = a.peers.reportTo(ctx, x, body)
		}
		if err != nil {
			failed++
			a.log.Debug("copy of the report not delivered", "proxy", x.Name, "error", err)
			if pause.For(ctx, min(retryDelay(failed), copyEvery)) != nil {
				return
			}
			continue
		}
		failed = 0
		answer.Proxy = x.Name
		a.answered(answer)
	}
}
