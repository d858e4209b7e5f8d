package balancer

import "sync/atomic"

// retryBudget lets retries be a share of the requests, so that a pool in
// trouble does not get twice the load. It is a tokens in hundredths of a retry:
// each request pays in, each retry takes a whole one, and a trickle keeps a
// quiet site alive.
type retryBudget struct {
	tokens atomic.Int64
	paid   atomic.Int64 // second of the last trickle
}

const (
	retryUnit    = 100
	retryTrickle = 10 * retryUnit   // a second
	retryStart   = 200 * retryUnit  // one dying instance with 200 requests in flight
	retryMost    = 2000 * retryUnit // what a busy site may save up
)

// refill pays in for one request.
func (b *retryBudget) refill(percent int64) {
	if percent > 0 && b.tokens.Load() < retryMost {
		b.tokens.Add(percent)
	}
}

// spend takes one retry at now (Unix milliseconds) and reports whether the bucket
// had it.
func (b *retryBudget) spend(now int64) bool {
	second := now / 1000
	if last := b.paid.Load(); second > last && b.paid.CompareAndSwap(last, second) && last > 0 {
		if room := retryStart - b.tokens.Load(); room > 0 {
			b.tokens.Add(min(room, (second-last)*retryTrickle))
		}
	}
	for {
		have := b.tokens.Load()
		if have < retryUnit {
			return false
		}
		if b.tokens.CompareAndSwap(have, have-retryUnit) {
			return true
		}
	}
}

// AllowRetry reports whether the pool's budget has room for one more retry, and
// takes it.
func (p *Pool) AllowRetry(now int64) bool {
	if p.Config().retry < 0 {
		return false
	}
	if p.retry.spend(now) {
		p.Retries.Add(1)
		return true
	}
	p.RetriesRefused.Add(1)
	return false
}
