package pause

import (
	"context"
	"time"
)

// began is when the process's clock began to strike.
var began = time.Now()

// Stroke returns how long it is until the process's clock strikes next. It does so at each multiple of every since it began: what is done now
// and then at strokes wakes the process once for all of it. A stroke that is nearer than a quarter of every is left out.
func Stroke(every time.Duration) time.Duration { return StrokeAfter(every, 0) }

// StrokeAfter is Stroke of a clock that is late by so much.
func StrokeAfter(every, late time.Duration) time.Duration {
	return stroke(time.Since(began), every, late)
}

func stroke(now, every, late time.Duration) time.Duration {
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

// ForStroke waits for a stroke, as For waits.
func ForStroke(ctx context.Context, every time.Duration) error { return For(ctx, Stroke(every)) }

// Strokes tells of strokes, one after the other, as a time.Ticker tells of ticks.
type Strokes struct {
	C     <-chan time.Time
	every time.Duration
	timer *time.Timer
}

// NewStrokes tells of the next stroke, until Stop.
func NewStrokes(every time.Duration) *Strokes {
	t := time.NewTimer(Stroke(every))
	return &Strokes{C: t.C, every: every, timer: t}
}

// Next has it tell of the stroke after the one that it has just told of.
func (s *Strokes) Next() { s.timer.Reset(Stroke(s.every)) }

// Stop ends it.
func (s *Strokes) Stop() { s.timer.Stop() }
