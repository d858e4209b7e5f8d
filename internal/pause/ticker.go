package pause

import (
	"context"
	"time"
)

// began is when the process's ticks began.
var began = time.Now()

// Tick returns how long it is until the process's next tick. There is one at each multiple of every since the process began, so that
// everything that is done now and then wakes the process together. A tick that is nearer than a quarter of every is left out.
func Tick(every time.Duration) time.Duration { return TickAfter(every, 0) }

// TickAfter is Tick for ticks that are late by so much.
func TickAfter(every, late time.Duration) time.Duration {
	return tick(time.Since(began), every, late)
}

func tick(now, every, late time.Duration) time.Duration {
	since := (now - late) % every
	if since < 0 {
		since += every
	}
	wait := every - since
	if wait < every/4 {
		wait += every
	}
	return wait
}

// ForTick waits for a tick, as For waits.
func ForTick(ctx context.Context, every time.Duration) error { return For(ctx, Tick(every)) }

// Ticker tells of the process's ticks, one after the other. Unlike a time.Ticker, it waits to be asked for the next, see Next.
type Ticker struct {
	C     <-chan time.Time
	every time.Duration
	timer *time.Timer
}

// NewTicker tells of the next tick, until Stop.
func NewTicker(every time.Duration) *Ticker {
	t := time.NewTimer(Tick(every))
	return &Ticker{C: t.C, every: every, timer: t}
}

// Next has it tell of the tick after the one that it has just told of.
func (t *Ticker) Next() { t.timer.Reset(Tick(t.every)) }

// Stop ends it.
func (t *Ticker) Stop() { t.timer.Stop() }
