package pause

import (
	"context"
	"time"
)

// Spacing keeps work that may be asked for at any time to a share of the time, so that a burst of it is gathered: what is asked for while
// it rests is one piece of work afterwards. The first after a rest begins at once.
type Spacing struct {
	Rest time.Duration // at most, after a piece of work
	Part int           // of the time that work may take, 10 is a tenth; less than 2: all of it

	next time.Time // before which none begins
}

// Wait waits until the next piece of work may begin, or until ctx ends, and then returns ctx's cause.
func (s *Spacing) Wait(ctx context.Context) error { return For(ctx, time.Until(s.next)) }

// Done says that a piece of work that began at a time has ended.
func (s *Spacing) Done(began time.Time) {
	now := time.Now()
	s.next = now.Add(min(s.Rest, time.Duration(max(s.Part-1, 0))*now.Sub(began)))
}
