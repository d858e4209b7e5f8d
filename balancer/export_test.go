package balancer

import "time"

// What tests choose and no user can.

func (o Options) WithRand(random func() uint64) Options { o.rand = random; return o }

func (c Config) WithBurst(d time.Duration) Config { c.burst = d; return c }

func (c Config) WithQueueMax(n int) Config { c.queueMax = n; return c }
