package deployhook

import (
	"time"

	"portico/membership/catalog"
)

// holding is what one instance of a drain held when it was last seen to work.
type holding struct {
	instance *catalog.Instance
	sessions int
	failed   string // why its visitors lose it, as they are told; empty while it works
}

// noteFailures keeps count of the sessions that a drain loses because an instance
// fails. What was there at the last good look counts: later, those visitors who came
// back have been placed elsewhere already.
func (d *Deployer) noteFailures(w *watched, v *catalog.View) {
	if !w.progress.Ended.IsZero() {
		return
	}
	here := map[string]bool{}
	for _, in := range w.drain.held {
		if here[in.ID] = true; !in.Unpinned {
			d.noteInstance(w, v, in)
		}
	}
	for _, in := range w.drain.exited {
		if w.holds[in.ID] == nil && !w.gone[in.ID] && !in.Unpinned && w.lost == 0 { // sooner than the first look
			sessions, _, _ := d.loadEverywhere(v, in.Site, in.ID, time.Now())
			w.holds[in.ID] = &holding{instance: in, sessions: sessions}
		}
	}
	for id, h := range w.holds {
		if here[id] {
			continue
		}
		delete(w.holds, id)
		w.gone[id] = true
		in, wanted := v.Instances[id], kept(v, h.instance)
		switch {
		case h.failed == "" && !wanted: // its agent has stopped it: that is told with its release
			continue
		case in != nil && in.State == catalog.InstanceExited, h.failed == "":
			h.failed = CauseExited
		}
		w.lose(h.sessions, h.failed)
	}
	w.progress.Lost = w.lost
	for _, h := range w.holds {
		if h.failed != "" && h.sessions > 0 {
			w.progress.Lost, w.progress.Cause = w.progress.Lost+h.sessions, h.failed
		}
	}
}

// noteInstance looks at one instance that runs.
func (d *Deployer) noteInstance(w *watched, v *catalog.View, in *catalog.Instance) {
	sessions, _, _ := d.loadEverywhere(v, in.Site, in.ID, time.Now())
	cause := ""
	if d.o.Failed != nil {
		cause = d.o.Failed(in.ID)
	}
	h := w.holds[in.ID]
	switch {
	case h == nil && cause != "" && w.lost > 0:
		// After a restart of the proxy: what was written down before has it.
		h = &holding{}
	case h == nil, h.failed == "" && cause == "":
		h = &holding{sessions: sessions}
	case cause == "": // it is back: only who came meanwhile has lost anything
		w.lose(max(h.sessions-sessions, 0), h.failed)
		h = &holding{sessions: sessions}
	}
	h.instance, h.failed = in, cause
	w.holds[in.ID] = h
}

// lose counts sessions that are lost for good.
func (w *watched) lose(sessions int, cause string) {
	if sessions > 0 {
		w.lost, w.progress.Cause = w.lost+sessions, cause
	}
}

// kept reports whether a site still has a use for an instance's release.
func kept(v *catalog.View, in *catalog.Instance) bool {
	site := v.Sites[in.Site]
	if site == nil {
		return false
	}
	if in.Release == site.Release || in.Release == site.Candidate {
		return true
	}
	for _, r := range site.Retiring {
		if r.Release == in.Release {
			return true
		}
	}
	return false
}

// vanished reports whether the instance of a drain has gone though it was wanted.
func vanished(v *catalog.View, x *Drain) bool {
	return v.Instances[x.Instance] == nil && kept(v, &catalog.Instance{Site: x.Site, Release: x.Release})
}
