package deployhook

import (
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

// moveEvery is how often quiet sessions of a drain that moves them are looked for.
const moveEvery = 5 * time.Second

// exactEvery is how often the sessions of a drain are counted one by one, which
// reads the whole table.
const exactEvery = 2 * time.Second

// watched is what the controller remembers of one drain. Only the controller's
// goroutine touches it.
type watched struct {
	drain    Drain
	progress catalog.DrainProgress // what the catalog has of it, and what is not written yet
	last     time.Time             // of the last look for quiet sessions
	exact    time.Time             // of the last exact count
	holds    map[string]*holding   // by instance
	lost     int                   // by instances that failed and are not in holds any more
	gone     map[string]bool       // instances that are in lost
	countdown
}

// key is the name of a drain that no other has, before it or beside it.
func (x *Drain) key() string { return x.Kind + " " + x.Object + " " + x.Since.String() }

// watched returns what is remembered of a drain, as it is now.
func (d *Deployer) watched(x Drain, now time.Time) *watched {
	w := d.drains[x.key()]
	if w == nil {
		w = &watched{progress: x.DrainProgress, holds: map[string]*holding{}, gone: map[string]bool{}, lost: x.Lost, countdown: countdown{seen: now}}
		d.drains[x.key()] = w
		w.begin(&x, now)
	}
	if !x.Deadline.Equal(w.drain.Deadline) && !w.drain.Since.IsZero() { // it was ordered anew
		w.begin(&x, now)
		w.progress.Left = x.Left
	}
	w.drain = x
	return w
}

// watchDrains moves what is to be moved, keeps deadlines, and tells each outcome
// once. It reports whether some drain still waits for its end.
func (d *Deployer) watchDrains(v *catalog.View, now time.Time) (busy bool) {
	present := map[string]bool{}
	for _, x := range drains(v) {
		present[x.key()] = true
		w := d.watched(x, now)
		d.noteFailures(w, v)
		busy = d.watchDrain(w, v, now) || busy
	}
	for key, w := range d.drains {
		if present[key] {
			continue
		}
		delete(d.drains, key)
		switch {
		case w.drain.Kind == DrainRelease || !w.progress.Ended.IsZero():
		case w.drain.Kind == DrainInstance && vanished(v, &w.drain):
			w.drain.held, w.drain.exited = nil, nil
			d.noteFailures(w, v)
			d.endDrain(w, now, nil)
		case w.progress.Held:
			d.tell("drain withdrawn", &w.drain, "before the last session had ended", nil, now, nil)
		}
	}
	return busy
}

func (d *Deployer) watchDrain(w *watched, v *catalog.View, now time.Time) (busy bool) {
	x := &w.drain
	sessions, inflight, known := 0, 0, true
	for _, in := range x.held {
		s, f, k := d.loadEverywhere(v, in.Site, in.ID, now)
		sessions, inflight, known = sessions+s, inflight+f, known && k
	}
	// Of a release it is not written down that it was seen with sessions: its end is told by retire.
	w.progress.Held = w.progress.Held || sessions > 0 && x.Kind != DrainRelease
	// The cheap count lags behind: a session that has ended by idleness leaves it
	// when its turn to be swept comes.
	if sessions > 0 && d.o.Loss != nil && now.Sub(w.exact) >= exactEvery {
		w.exact = now
		sessions = d.o.Loss(x.held).Sessions + d.remoteLoss(v, x.key()).Sessions
	}
	if x.Move > 0 && sessions > 0 && now.Sub(w.last) >= moveEvery {
		w.last = now
		w.progress.Moved += d.moveQuiet(x.held, x.Move.Std())
	}
	w.progress.Left = w.left(w.progress.Left, now)
	over := x.Kind == DrainRelease || !w.progress.Ended.IsZero()
	switch {
	case over:
	case sessions == 0 && inflight == 0 && known && w.settled(now):
		d.endDrain(w, now, w.note)
	case w.over(now):
		w.progress.Ended = now.UTC()
		text, outcome := cutOff(sessions, known, w.progress)
		d.tell("drain ended", x, text, &outcome, now, func(tx *catalog.Tx) error {
			return command.CutDrain(tx, x.Member, x.Instance, x.Since)
		})
	}
	if !w.progress.Equal(x.DrainProgress) && (over || w.progress.Ended.IsZero()) {
		d.update("note drain", w.note)
	}
	return w.progress.Ended.IsZero() && x.Kind != DrainRelease
}

// endDrain tells the outcome of a drain that has nothing left.
func (d *Deployer) endDrain(w *watched, now time.Time, also func(tx *catalog.Tx) error) {
	w.progress.Ended = now.UTC()
	text, outcome := emptied(&w.drain, w.progress, now)
	d.tell("drain ended", &w.drain, text, &outcome, now, also)
}

// note writes the progress of a drain.
func (w *watched) note(tx *catalog.Tx) error {
	x := &w.drain
	return command.NoteDrain(tx, x.Member, x.Site, x.Instance, x.Release, x.DrainOrder, w.progress)
}
