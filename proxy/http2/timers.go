package http2

import "time"

// Deadline is when Timeout has something to do, zero: never. It moves with every event; a driver asks after each.
func (c *Conn) Deadline() int64 {
	at, _ := c.timer()
	return at
}

// Timeout acts on a deadline that has passed, if one has.
func (c *Conn) Timeout() {
	at, what := c.timer()
	if at == 0 || c.now < at {
		return
	}
	switch what {
	case timerOutput:
		c.lost()
	case timerGreet, timerIdle:
		c.endsWell()
	case timerBlock:
		c.fail(codeCalm)
		c.denied = false // slow, not wild
	case timerAck:
		c.fail(codeSettings)
	case timerDrain:
		c.drainLast()
	case timerParting:
		c.stopParting()
	}
}

type timer uint8

const (
	timerOutput  timer = iota // nobody takes it
	timerGreet                // the client's preface does not come
	timerBlock                // nor the rest of a header block
	timerAck                  // nor word that it has taken our SETTINGS
	timerIdle                 // nothing is asked
	timerDrain                // our PING does not come back
	timerParting              // the rest of a request whose answer is sent does not end
)

func (c *Conn) timer() (at int64, what timer) {
	t := c.conf.Timeouts
	sooner := func(since int64, d time.Duration, w timer) {
		if d >= 0 && (at == 0 || since+int64(d) < at) {
			at, what = since+int64(d), w
		}
	}
	if c.Waits() {
		patience := t.Write
		if c.origin != nil {
			patience = t.Response
		}
		sooner(c.taken, patience, timerOutput)
	}
	if c.over {
		return at, what
	}
	switch {
	case !c.greeted:
		sooner(c.began, t.Header, timerGreet)
	case !c.acked:
		sooner(c.began, max(t.Header, t.Body), timerAck)
	}
	if c.headSince != 0 && !c.full() {
		sooner(c.headSince, t.Header, timerBlock)
	}
	if c.held == 0 && c.greeted {
		rest := t.Idle
		if c.origin != nil {
			rest = c.origin.idle
		}
		sooner(c.rest, rest, timerIdle)
	}
	if len(c.partings) > 0 {
		sooner(c.partings[0].at, 0, timerParting)
	}
	if c.drain == drainSaid {
		sooner(c.since, drainWait, timerDrain)
	}
	return at, what
}
