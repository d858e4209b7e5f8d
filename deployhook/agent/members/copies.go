package members

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"portico/internal/pause"
	"portico/membership/catalog/messages"
)

// copyEvery is how often a proxy gets a copy of the report without any change. It is
// how the proxies that are not asked for the wanted state know that this agent lives,
// which they doubt after ten seconds.
const copyEvery = 4 * time.Second

// Copies brings copies of each report to the proxies that do not write it down. Each
// has its own pace, so that one that does not answer holds up no other.
type Copies struct {
	ctx      context.Context
	m        *Members
	report   func() messages.Report
	answered func(Answer)
	wg       sync.WaitGroup
	list     map[messages.Peer]*copier
}

type copier struct {
	dirty chan struct{} // capacity 1
	stop  context.CancelFunc
}

// wake has its copy sent soon.
func (c *copier) wake() {
	select {
	case c.dirty <- struct{}{}:
	default:
	}
}

// Copies sends nothing before Set. Report is asked what to tell, answered is told what a proxy says to it.
func (m *Members) Copies(ctx context.Context, report func() messages.Report, answered func(Answer)) *Copies {
	return &Copies{ctx: ctx, m: m, report: report, answered: answered, list: map[messages.Peer]*copier{}}
}

// Set makes these the proxies that get copies.
func (c *Copies) Set(peers []messages.Peer) {
	keep := make(map[messages.Peer]bool, len(peers))
	for _, x := range peers {
		keep[x] = true
		if c.list[x] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(c.ctx)
		one := &copier{dirty: make(chan struct{}, 1), stop: cancel}
		c.list[x] = one
		one.wake()
		c.wg.Go(func() { c.copyTo(ctx, x, one.dirty) })
	}
	for x, one := range c.list {
		if !keep[x] {
			one.stop()
			delete(c.list, x)
		}
	}
}

// Wake has every copy sent soon.
func (c *Copies) Wake() {
	for _, one := range c.list {
		one.wake()
	}
}

// Stop ends them and waits for it.
func (c *Copies) Stop() {
	c.Set(nil)
	c.wg.Wait()
}

// copyTo sends copies to one proxy until ctx ends.
func (c *Copies) copyTo(ctx context.Context, x messages.Peer, dirty <-chan struct{}) {
	tick := time.NewTicker(pause.Jitter(copyEvery))
	defer tick.Stop()
	for failed := 0; ; {
		select {
		case <-dirty:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		r := c.report()
		r.Copy = true
		body, err := json.Marshal(r)
		var answer Answer
		if err == nil {
			answer, err = c.m.ReportTo(ctx, x, body)
		}
		if err != nil {
			failed++
			c.m.o.Logger.Debug("copy of the report not delivered", "proxy", x.Name, "error", err)
			if pause.For(ctx, min(RetryDelay(failed), copyEvery)) != nil {
				return
			}
			continue
		}
		failed = 0
		answer.Proxy = x.Name
		c.answered(answer)
	}
}
