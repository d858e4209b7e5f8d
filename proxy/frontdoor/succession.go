package frontdoor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"portico/internal/takeover"
)

// state is where a process stands between the one that had the proxy's place before and the one that has it next.
//
//	 starting ───▶ serving ───▶ handingOver ───▶ lameDuck ───▶ ended
//	    │          ▲ ▲  │          │  ▲                          ▲
//	    ▼          │ │  │          ▼  │                          │
//	succeeding ────┘ └──│────── reopening ──┐                    │
//	                    └───────────────────┴──▶ stopping ───────┘
//
//	starting     a proxy runs on the folder and has released its catalog: succeeding
//	             nobody has the place: serving
//	succeeding   all is open, and the predecessor says go or has died: serving
//	serving      a successor asks: handingOver
//	             told to stop, or something failed: stopping
//	handingOver  the successor is ready and was told to go: lameDuck
//	             the successor failed: reopening
//	reopening    all is open again: serving
//	             another successor asks: handingOver
//	             told to stop, or something failed: stopping
//	lameDuck     what ran has finished or was cut: ended
//	stopping     what ran has finished or was cut: ended
//
// A start that fails ends as well. Visitors are served in every state, by the predecessor in succeeding; in starting they
// are from the moment when all that they need is open.
type state int

const (
	starting    state = iota
	succeeding        // the predecessor has released the catalog, the admin listener and the gossip; this process opens them
	serving           // this process has everything
	handingOver       // this process has released all but the traffic; a successor opens it
	reopening         // this process opens again what it has released
	lameDuck          // the successor has the place: clients are told to come again, and what runs may finish
	stopping          // there is no successor: what runs may finish, and nobody is let in
	ended
)

var stateNames = [...]string{"starting", "succeeding", "serving", "handing over", "reopening", "lame duck", "stopping", "ended"}

func (s state) String() string { return stateNames[s] }

// transitions are the states that may follow each: the arrows of the picture.
var transitions = map[state][]state{
	starting:    {succeeding, serving, ended},
	succeeding:  {serving, ended},
	serving:     {handingOver, stopping},
	handingOver: {lameDuck, reopening},
	reopening:   {serving, handingOver, stopping},
	lameDuck:    {ended},
	stopping:    {ended},
}

// succession is the state of one process. One goroutine has it: first that of New, then that of Run.
type succession struct {
	state state
	log   *slog.Logger
}

func (m *succession) enter(next state) {
	if !slices.Contains(transitions[m.state], next) {
		panic(fmt.Sprintf("BUG: a proxy that is %s enters %s", m.state, next))
	}
	m.log.Debug("succession", "from", m.state.String(), "to", next.String())
	m.state = next
}

// steps are what happens to a process that serves, and what it does about it.
type steps struct {
	trafficEnded <-chan error
	workFailed   func() <-chan error // nil while the catalog is released
	asked        <-chan *takeover.Successor

	handOver      func(context.Context, *takeover.Successor) bool // releases the catalog; reports whether the successor has the place
	reopenCatalog func(context.Context) error
}

// What is between two tries to open the catalog again doubles from the first to the last.
const (
	reopenFirst = 100 * time.Millisecond
	reopenLast  = 5 * time.Second
)

// serve takes a process that has everything through its states, until it has a successor, which it returns,
// or is to stop: then err says what failed, nil if ctx has ended.
func (m *succession) serve(ctx context.Context, do steps) (s *takeover.Successor, err error) {
	m.enter(serving)
	var again <-chan time.Time // in reopening
	wait := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
		case err = <-do.trafficEnded:
		case err = <-do.workFailed():
		case s = <-do.asked:
			m.enter(handingOver)
			if do.handOver(ctx, s) {
				m.enter(lameDuck)
				return s, nil
			}
			m.enter(reopening)
			wait, again = 0, time.After(0)
			continue
		case <-again:
			wait, again = min(2*wait+reopenFirst, reopenLast), nil
			if err := do.reopenCatalog(ctx); err != nil {
				m.log.Warn("not everything is taken back yet: the traffic goes on with the last view", "error", err, "again", wait.String())
				again = time.After(wait)
				continue
			}
			m.enter(serving)
			continue
		}
		m.enter(stopping)
		return nil, err
	}
}
