package exchange

import "time"

// pace measures how long a peer was waited for. Time in which we were not waiting for it does not count, so a slow origin is never
// the client's fault.
type pace struct {
	since  int64 // when the present wait began, 0: not waiting
	waited int64 // in earlier waits of this message
	bytes  int64 // moved in this message
}

// wait begins a wait, unless one is on.
func (p *pace) wait(now int64) {
	if p.since == 0 {
		p.since = now
	}
}

// stop ends a wait without progress.
func (p *pace) stop(now int64) {
	if p.since != 0 {
		p.waited += now - p.since
		p.since = 0
	}
}

// again forgives the present wait until now.
func (p *pace) again(now int64) {
	if p.since != 0 {
		p.since = now
	}
}

// moved notes progress; a wait begins anew.
func (p *pace) moved(now int64, n int) {
	if n == 0 {
		return
	}
	p.stop(now)
	p.bytes += int64(n)
}

// deadline is when patience ends: after idle without a byte, or when the whole wait exceeds grace plus what rate allows for the
// bytes that moved. Zero means never.
func (p *pace) deadline(idle, grace time.Duration, rate int) int64 {
	if p.since == 0 {
		return 0
	}
	var at int64
	if idle > 0 {
		at = p.since + int64(idle)
	}
	if rate > 0 && grace > 0 {
		by := p.since + int64(grace) - p.waited + transferTime(p.bytes, int64(rate))
		if at == 0 || by < at {
			at = by
		}
	}
	return at
}

// transferTime is how long bytes may take at a rate of so many a second, in nanoseconds. It is 34 years at most: more bytes have no more
// time.
func transferTime(bytes, rate int64) int64 {
	const most = 1 << 30 // seconds; as many nanoseconds leave room in a sum
	whole := bytes / rate
	if whole >= most {
		return most * int64(time.Second)
	}
	return whole*int64(time.Second) + bytes%rate*int64(time.Second)/rate
}
