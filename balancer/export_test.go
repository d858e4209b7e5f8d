package balancer

import "time"

// What tests choose and no user can.

func (o Options) WithRand(random func() uint64) Options { o.rand = random; return o }

func (c Config) WithBurst(d time.Duration) Config { c.burst = d; return c }

func (c Config) WithQueueMax(n int) Config { c.queueMax = n; return c }

// Picked is Pick for a choice of its own.
func (p *Pool) Picked(r *Request) (c Choice) {
	p.Pick(&c, r)
	return c
}

// Seated returns how many sessions count for the ceiling: those whose visitors came back, and the newest.
func (u *Upstream) Seated() int { return int(u.load.Seats.Taken()) }
