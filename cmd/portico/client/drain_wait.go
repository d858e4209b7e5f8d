package client

import (
	"errors"
	"fmt"
	"time"

	"portico/cmd/portico/screen"
	"portico/deployhook"
	"portico/internal/exitcode"
	"portico/internal/pause"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
)

// wait shows the drain in one live line until it has ended.
func (d *drainCommand) wait(limit time.Duration) error {
	line := screen.NewStatusLine(d.cmd.OutOrStdout())
	defer line.Done()
	deadline := time.Now().Add(limit)
	d.c = d.c.Patient(waitUntil(deadline, d.tellAway(line, deadline)))
	wanted := outcomeSince(justNow()) // of the drain itself, once it is seen
	var last deployhook.Drain
	for {
		x, ok, err := d.find()
		var away *apiclient.Away
		switch {
		case d.cmd.Context().Err() != nil:
			return d.broken(last)
		case errors.As(err, &away) && last.Kind != "" && away.For() < time.Second: // the time was up in the middle of a look
			return exitcode.Timeout(timeIsOver(d.name, limit, last))
		case errors.As(err, &away):
			return fmt.Errorf("%s is not known to be empty after %v, it goes on draining: %w", d.name, limit, away)
		case err != nil:
			return err
		case !ok:
			return d.over(line, wanted)
		case x.Sessions == 0 && x.InFlight == 0 && !x.Ended.IsZero():
			if x.Lost > 0 {
				return d.over(line, outcomeOf(x))
			}
			if d.json {
				return screen.PrintJSON(d.cmd.OutOrStdout(), x)
			}
			line.Set("%s is empty: no session and no request is left there, and no new ones come", d.name)
			return nil
		}
		wanted, last = outcomeOf(x), x
		if !d.json {
			line.Note(drainKey(x), d.name+": "+drainText(x, time.Now()), time.Now())
		}
		if time.Now().After(deadline) {
			return exitcode.Timeout(timeIsOver(d.name, limit, x))
		}
		_ = pause.For(d.cmd.Context(), min(time.Second, time.Until(deadline)+time.Millisecond))
	}
}

// tellAway tells that the proxy is away, and until when it is waited for.
func (d *drainCommand) tellAway(line *screen.StatusLine, until time.Time) func(*apiclient.Away) {
	meanwhile := "the drain goes on, and so does this wait until " + until.Format(time.DateTime)
	if d.json {
		return screen.TellAwayJSON(d.cmd, meanwhile)
	}
	return screen.TellAway(line, meanwhile)
}

// broken says what goes on after Ctrl-C; x is what the drain was last seen to hold, if at all.
func (d *drainCommand) broken(x deployhook.Drain) error {
	back, with := "", ""
	if d.target.Release == "" {
		back = ", portico ready " + d.name + " takes it back"
	}
	if x.Kind != "" {
		with = " with " + drainText(x, time.Now())
	}
	return fmt.Errorf("%s goes on draining%s: portico drain %s --wait 8h waits again%s: %w", d.name, with, d.name, back, d.cmd.Context().Err())
}

// timeIsOver tells what a wait leaves behind. After a restart of the proxy nobody knows how much that is.
func timeIsOver(name string, limit time.Duration, x deployhook.Drain) string {
	return fmt.Sprintf("%s is not known to be empty after %v, it goes on draining: %s", name, limit, drainText(x, time.Now()))
}

// justNow is before anything that this command did, by the proxy's clock too.
func justNow() time.Time { return time.Now().Add(-10 * time.Second) }

// over tells how a drain ended that is there no more: well, or with an error.
func (d *drainCommand) over(line *screen.StatusLine, wanted outcomeFilter) error {
	o, err := d.outcome(wanted)
	switch {
	case err != nil:
		return err
	case o == nil && d.json && (d.request.Now || d.target.Release != ""):
		return screen.PrintJSON(d.cmd.OutOrStdout(), d.nothingTold())
	case o == nil && d.request.Now:
		line.Set("%s takes nothing any more", d.name)
		return nil
	case o == nil && d.target.Release != "":
		line.Set("%s has ended before: no instance of it is left", d.name)
		return nil
	case o == nil:
		return fmt.Errorf("%s does not drain any more: somebody took it back or put it into maintenance", d.name)
	case d.json:
		if err := screen.PrintJSON(d.cmd.OutOrStdout(), o); err != nil {
			return err
		}
	}
	if !o.Empty && !d.request.Now {
		return fmt.Errorf("the drain of %s has ended: %s", d.name, o.Outcome)
	}
	if !d.json {
		line.Set("%s: %s", d.name, o.Outcome)
	}
	return nil
}

// outcomeFilter tells the outcome that is looked for from others of the same object.
type outcomeFilter func(*api.DrainOutcome) bool

// outcomeOf wants that of a drain which was seen. Its times are of the proxy's clock, which may have been set meanwhile.
func outcomeOf(x deployhook.Drain) outcomeFilter {
	return func(o *api.DrainOutcome) bool {
		return o.Since.Equal(x.Since) || o.Since.IsZero() && !o.At.Before(x.Since)
	}
}

// outcomeSince wants one that was told since then.
func outcomeSince(at time.Time) outcomeFilter {
	return func(o *api.DrainOutcome) bool { return !o.At.Before(at) }
}

// outcome returns how the drain has ended, or nil: nothing tells.
// What vanished by itself is told a moment later, so it asks more than once.
func (d *drainCommand) outcome(wanted outcomeFilter) (*api.DrainOutcome, error) {
	for tries := 0; ; tries++ {
		list, err := d.c.EndedDrains(d.cmd.Context())
		if err != nil {
			return nil, err
		}
		for _, o := range list {
			if d.names(o.Object) && wanted(&o) {
				return &o, nil
			}
		}
		if d.request.Now || tries == 4 {
			return nil, nil
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-d.cmd.Context().Done():
			return nil, d.cmd.Context().Err()
		}
	}
}
