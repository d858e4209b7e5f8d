package agent

import (
	"errors"
	"fmt"
	"slices"

	"portico/deployhook/agent/folders"
	"portico/deployhook/agent/state"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

// unitKey names a release on this machine.
type unitKey struct{ site, release string }

// errForeign refuses a wanted state of another cluster.
var errForeign = errors.New("the wanted state belongs to another cluster")

// checkWanted checks a wanted state before the agent obeys it.
func (a *Agent) checkWanted(w *messages.Wanted) error {
	want := a.o.Cluster
	if want == "" {
		a.state.Peek(func(s *state.File) { want = s.Cluster })
	}
	if w.Cluster == "" || want != "" && w.Cluster != want {
		return fmt.Errorf("%w: %q, this member belongs to %q", errForeign, w.Cluster, want)
	}
	seen := make(map[unitKey]bool)
	for _, r := range w.Releases {
		k := unitKey{r.Site, r.Release}
		if err := folders.SafeName(r.Site); err != nil {
			return err
		}
		if err := ids.ValidRelease(r.Release); err != nil {
			return fmt.Errorf("site %s: %w", r.Site, err)
		}
		if seen[k] {
			return fmt.Errorf("site %s: release %s is there twice", r.Site, r.Release)
		}
		seen[k] = true
	}
	return nil
}

// resume goes on with what ran before. It stops the processes that nobody knows, and
// follows the last wanted state with the instances that were adopted.
func (a *Agent) resume(adopted map[unitKey]*instance) {
	a.killStrays(adopted)
	var last *messages.Wanted
	a.state.Peek(func(s *state.File) { last = s.Wanted })
	if last == nil {
		last = &messages.Wanted{}
	} else if a.o.Cluster != "" && last.Cluster != a.o.Cluster {
		a.log.Warn("remembered state not followed", "error", errForeign)
		last = &messages.Wanted{}
	}
	a.setWanted(*last, adopted)
}

// follow obeys a wanted state that a proxy sent.
func (a *Agent) follow(w messages.Wanted) {
	if err := a.checkWanted(&w); err != nil {
		a.log.Error("wanted state refused", "error", err)
		return
	}
	a.state.Save(func(s *state.File) { s.Cluster, s.Wanted = w.Cluster, &w })
	a.setWanted(w, nil)
	a.Recheck()
}

// Wanted returns the wanted state that the agent obeys, which may be from before a
// restart. The caller must not change it.
func (a *Agent) Wanted() messages.Wanted {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.wanted
}

// Recheck asks Options.Identify about every open connection again, whichever side made it. It
// closes those of members that are not accepted any more. The agent does so after each
// change of the wanted state.
func (a *Agent) Recheck() {
	a.web.Recheck()
	a.members.Recheck()
}

// setWanted starts, changes and ends units so that they match w.
func (a *Agent) setWanted(w messages.Wanted, adopted map[unitKey]*instance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing {
		for _, inst := range adopted {
			inst.detach()
		}
		return
	}
	a.wanted, a.haveIt = w, w.Cluster != ""
	a.members.Set(w)
	wanted := make(map[unitKey]bool, len(w.Releases))
	for _, r := range w.Releases {
		k := unitKey{r.Site, r.Release}
		wanted[k] = true
		if u := a.units[k]; u != nil {
			u.update(r) // if it is ending, keepsOn takes that back, or unitEnded starts it again
			continue
		}
		a.startUnitLocked(k, r, adopted[k])
		delete(adopted, k)
	}
	for k, inst := range adopted {
		// Nobody wants this one any more: its unit only stops it.
		a.startUnitLocked(k, messages.WantedRelease{Site: k.site, Release: k.release, Duty: messages.DutyRetiring}, inst)
	}
	for k, u := range a.units {
		if !wanted[k] {
			u.end(errWithdrawn)
		}
	}
	signal(a.dirty)
	signal(a.tidy)
}

// wantsLocked reports whether the wanted state has a release.
func (a *Agent) wantsLocked(k unitKey) bool {
	return slices.ContainsFunc(a.wanted.Releases, func(r messages.WantedRelease) bool { return r.Site == k.site && r.Release == k.release })
}

// freeNumberLocked returns the least number that no unit has.
func (a *Agent) freeNumberLocked() int {
	taken := make(map[int]bool, len(a.units))
	for _, u := range a.units {
		taken[u.number] = true
	}
	n := 0
	for taken[n] {
		n++
	}
	return n
}

func (a *Agent) startUnitLocked(k unitKey, r messages.WantedRelease, inst *instance) {
	if inst == nil && retiresOnly(r) {
		return
	}
	u := newUnit(a, k, r, inst)
	u.number = a.freeNumberLocked()
	a.units[k] = u
	a.working.Go(func() {
		u.run()
		a.unitEnded(u)
	})
}

// unitEnded forgets a unit, and starts it again if its release is wanted once more.
func (a *Agent) unitEnded(u *unit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.units, u.key)
	if !a.closing {
		for _, r := range a.wanted.Releases {
			if r.Site == u.key.site && r.Release == u.key.release {
				a.startUnitLocked(u.key, r, nil)
			}
		}
	}
	signal(a.dirty)
	signal(a.tidy)
}

// signal puts a token into a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
