package succession

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"portico/internal/takeover"
)

// course is what a test lets happen to a process, and what that did.
type course struct {
	gives   []bool  // what handing over comes to, in turn
	reopens []error // and opening again
	did     []string
	at      []time.Duration // when it tried to open again, from the first try on
	first   time.Time
}

func (c *course) steps(t *testing.T) Steps {
	return Steps{
		WorkFailed: func() <-chan error { return nil },
		HandOver: func(context.Context, *takeover.Successor) bool {
			c.did = append(c.did, "hand over")
			if len(c.gives) == 0 {
				t.Fatal("it handed over once too often")
			}
			given := c.gives[0]
			c.gives = c.gives[1:]
			return given
		},
		ReopenCatalog: func(context.Context) error {
			c.did = append(c.did, "reopen")
			if c.first.IsZero() {
				c.first = time.Now()
			}
			c.at = append(c.at, time.Since(c.first))
			if len(c.reopens) == 0 {
				t.Fatal("it opened the catalog once too often")
			}
			err := c.reopens[0]
			c.reopens = c.reopens[1:]
			return err
		},
	}
}

func silent() *Machine {
	return &Machine{log: slog.New(slog.DiscardHandler)}
}

// TestSuccessorThatFailsLeavesTheProxyWhole: the catalog is opened again, however often that takes, and the next successor has its turn.
func TestSuccessorThatFailsLeavesTheProxyWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := errors.New("the folder is locked")
		c := &course{gives: []bool{false, true}, reopens: []error{busy, busy, busy, nil}}
		asked := make(chan *takeover.Successor)
		do := c.steps(t)
		do.Asked = asked
		m := silent()
		last := &takeover.Successor{PID: 2}
		go func() {
			asked <- &takeover.Successor{PID: 1}
			time.Sleep(time.Minute)
			synctest.Wait()
			if m.state != Serving {
				t.Errorf("a minute later it is %s", m.state)
			}
			asked <- last
		}()
		s, err := m.Serve(t.Context(), do)
		if s != last || err != nil || m.state != LameDuck {
			t.Errorf("it ends %s with %v, %v", m.state, s, err)
		}
		if want := []string{"hand over", "reopen", "reopen", "reopen", "reopen", "hand over"}; !slices.Equal(c.did, want) {
			t.Errorf("it did %v, want %v", c.did, want)
		}
		if want := []time.Duration{0, 100 * time.Millisecond, 400 * time.Millisecond, 1100 * time.Millisecond}; !slices.Equal(c.at, want) {
			t.Errorf("it tried after %v, want %v", c.at, want)
		}
	})
}

// TestSuccessorMayComeWhileTheCatalogIsReleased: who comes while this process cannot open its catalog gets the place at once.
func TestSuccessorMayComeWhileTheCatalogIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &course{gives: []bool{false, true}, reopens: []error{errors.New("the disk is full")}}
		asked := make(chan *takeover.Successor)
		do := c.steps(t)
		do.Asked = asked
		m := silent()
		go func() {
			asked <- &takeover.Successor{PID: 1}
			time.Sleep(reopenFirst / 2)
			asked <- &takeover.Successor{PID: 2}
		}()
		if s, err := m.Serve(t.Context(), do); s == nil || s.PID != 2 || err != nil {
			t.Errorf("it ends with %v, %v", s, err)
		}
	})
}

// TestStopComesFirst: a process that is told to stop, or that failed, has no successor any more, whatever it was about to open.
func TestStopComesFirst(t *testing.T) {
	broken := errors.New("the listener is gone")
	for name, c := range map[string]struct {
		fail bool // else it is told to stop
		gone bool // with the catalog released
		want error
	}{
		"told": {}, "failed": {fail: true, want: broken},
		"told while it reopens": {gone: true}, "failed while it reopens": {fail: true, gone: true, want: broken},
	} {
		synctest.Test(t, func(t *testing.T) {
			// It cannot open the catalog for as long as the test lasts.
			course := &course{gives: []bool{false}, reopens: slices.Repeat([]error{errors.New("locked")}, 100)}
			asked, traffic := make(chan *takeover.Successor), make(chan error)
			do := course.steps(t)
			do.Asked, do.TrafficEnded = asked, traffic
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			m := silent()
			go func() {
				if c.gone {
					asked <- &takeover.Successor{PID: 1}
				}
				time.Sleep(10 * time.Second)
				if c.fail {
					traffic <- broken
				}
				stop()
			}()
			s, err := m.Serve(ctx, do)
			if s != nil || !errors.Is(err, c.want) || m.state != Stopping {
				t.Errorf("%s: it ends %s with %v, %v", name, m.state, s, err)
			}
		})
	}
}

// TestStatesLeadToAnEnd: every state can be reached, and the end from each; what the picture does not have is a fault.
func TestStatesLeadToAnEnd(t *testing.T) {
	reached := map[State]bool{}
	var walk func(State)
	walk = func(s State) {
		if reached[s] {
			return
		}
		reached[s] = true
		for _, next := range transitions[s] {
			walk(next)
		}
	}
	for s := Starting; s <= Ended; s++ {
		clear(reached)
		walk(s)
		if !reached[Ended] {
			t.Errorf("from %s nothing leads to the end", s)
		}
	}
	clear(reached)
	if walk(Starting); len(reached) != len(stateNames) {
		t.Errorf("%d of %d states can be reached", len(reached), len(stateNames))
	}
	defer func() {
		if recover() == nil {
			t.Error("a lame duck took its place back")
		}
	}()
	m := silent()
	m.state = LameDuck
	m.Enter(Serving)
}
