package page

import (
	"html/template"
	"time"

	"portico/deployhook"
	"portico/proxy/admin/api"
)

// drainView is one line of what is being emptied.
type drainView struct {
	Verbs                     []Verb
	Query                     template.URL // what the buttons are about, encoded
	D                         deployhook.Drain
	Object, Ends, Deadline    string
	Since, Idlest, MovesAfter string
	Waits                     []string // for whom, beside its sessions
	Failed                    string   // what has failed meanwhile, and how many sessions that cost
}

// drainOf is a drain with the buttons that end or change it.
func drainOf(f *Frame, d deployhook.Drain) drainView {
	v := drainViewOf(d, f.Now)
	t, names := Target{Member: d.Member}, []string{api.VerbReady}
	switch d.Kind {
	case deployhook.DrainInstance:
		t = Target{Site: d.Site, Instance: d.Instance}
	case deployhook.DrainRelease:
		t, names = Target{Site: d.Site, Release: d.Release}, []string{api.VerbDrain, VerbCut}
	}
	v.Verbs, v.Query = offered(f.Who, t, names...), template.URL(t.Fields().Encode()) // url.Values encodes everything
	return v
}

func drainViewOf(d deployhook.Drain, now time.Time) drainView {
	v := drainView{D: d, Object: d.Object, Ends: "–", Deadline: "–", Since: Age(now.Sub(d.Since)), Idlest: "–"}
	if d.Kind == deployhook.DrainInstance {
		v.Object = d.Site + "/" + api.Bounded(d.Instance, 8) + " on " + d.Member
	}
	if d.Sessions > 0 {
		v.Idlest = Age(d.Idlest.Std())
	}
	if d.Ends.After(now) {
		v.Ends = "in " + Age(d.Ends.Sub(now))
	}
	if !d.Deadline.IsZero() {
		v.Deadline = "in " + Age(d.Remaining(now))
	}
	if d.Lost > 0 {
		v.Failed = deployhook.FailureText(d.Cause) + ": " + api.Count(int64(d.Lost), "session") + " lost"
	}
	for _, u := range d.Unheard {
		v.Waits = append(v.Waits, u.Text(now))
	}
	if d.Move > 0 {
		v.MovesAfter = Age(d.Move.Std())
	}
	return v
}
