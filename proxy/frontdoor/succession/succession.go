// Package succession is the course of a take-over as one process sees it: the states and what leads from one to the next, who asks for
// the place, and a successor that the process starts itself. What happens in a state is the caller's; what processes say to one another
// is in internal/takeover.
package succession

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"portico/internal/takeover"
)

// State is where a process stands between the one that had the proxy's place before and the one that has it next.
//
//	 Starting ───▶ Serving ───▶ HandingOver ───▶ LameDuck ───▶ Ended
//	    │          ▲ ▲  │          │  ▲                          ▲
//	    ▼          │ │  │          ▼  │                          │
//	Succeeding ────┘ └──│────── Reopening ──┐                    │
//	                    └───────────────────┴──▶ Stopping ───────┘
//
//	Starting     a proxy runs on the folder and has released its catalog: Succeeding
//	             nobody has the place: Serving
//	Succeeding   all is open, and the predecessor says go or has died: Serving
//	Serving      a successor asks: HandingOver
//	             told to stop, or something failed: Stopping
//	HandingOver  the successor is ready and was told to go: LameDuck
//	             the successor failed: Reopening
//	Reopening    all is open again: Serving
//	             another successor asks: HandingOver
//	             told to stop, or something failed: Stopping
//	LameDuck     what ran has finished or was cut: Ended
//	Stopping     what ran has finished or was cut: Ended
//
// A start that fails ends as well. Visitors are served in every state, by the predecessor in Succeeding; in Starting they
// are from the moment when all that they need is open.
type State int

// The states, as in the picture.
const (
	Starting    State = iota
	Succeeding        // the predecessor has released the catalog, the admin listener and the gossip; this process opens them
	Serving           // this process has everything
	HandingOver       // this process has released all but the traffic; a successor opens it
	Reopening         // this process opens again what it has released
	LameDuck          // the successor has the place: clients are told to come again, and what runs may finish
	Stopping          // there is no successor: what runs may finish, and nobody is let in
	Ended
)

var stateNames = [...]string{"starting", "succeeding", "serving", "handing over", "reopening", "lame duck", "stopping", "ended"}

// String names the state in a log.
func (s State) String() string { return stateNames[s] }

// transitions are the states that may follow each: the arrows of the picture.
var transitions = map[State][]State{
	Starting:    {Succeeding, Serving, Ended},
	Succeeding:  {Serving, Ended},
	Serving:     {HandingOver, Stopping},
	HandingOver: {LameDuck, Reopening},
	Reopening:   {Serving, HandingOver, Stopping},
	LameDuck:    {Ended},
	Stopping:    {Ended},
}

// Machine is the state of one process. One goroutine at a time has it: first that of the start, then that which serves.
type Machine struct {
	state State
	log   *slog.Logger
}

// New returns that of a process that starts.
func New(log *slog.Logger) *Machine { return &Machine{log: log} }

// Enter changes the state.
func (m *Machine) Enter(next State) {
	if !slices.Contains(transitions[m.state], next) {
		panic(fmt.Sprintf("BUG: a proxy that is %s enters %s", m.state, next))
	}
	m.log.Debug("succession", "from", m.state.String(), "to", next.String())
	m.state = next
}

// Steps are what happens to a process that serves, and what it does about it.
type Steps struct {
	TrafficEnded <-chan error
	WorkFailed   func() <-chan error // nil while the catalog is released
	Asked        <-chan *takeover.Successor

	HandOver      func(context.Context, *takeover.Successor) bool // releases the catalog; reports whether the successor has the place
	ReopenCatalog func(context.Context) error
}

// What is between two tries to open the catalog again doubles from the first to the last.
const (
	reopenFirst = 100 * time.Millisecond
	reopenLast  = 5 * time.Second
)

// Serve takes a process that has everything through its states, until it has a successor, which it returns,
// or is to stop: then err says what failed, nil if ctx has ended.
func (m *Machine) Serve(ctx context.Context, do Steps) (s *takeover.Successor, err error) {
	m.Enter(Serving)
	var again <-chan time.Time // in Reopening
	wait := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
		case err = <-do.TrafficEnded:
		case err = <-do.WorkFailed():
		case s = <-do.Asked:
			m.Enter(HandingOver)
			if do.HandOver(ctx, s) {
				m.Enter(LameDuck)
				return s, nil
			}
			m.Enter(Reopening)
			wait, again = 0, time.After(0)
			continue
		case <-again:
			wait, again = min(2*wait+reopenFirst, reopenLast), nil
			if err := do.ReopenCatalog(ctx); err != nil {
				m.log.Warn("not everything is taken back yet: the traffic goes on with the last view", "error", err, "again", wait.String())
				again = time.After(wait)
				continue
			}
			m.Enter(Serving)
			continue
		}
		m.Enter(Stopping)
		return nil, err
	}
}
