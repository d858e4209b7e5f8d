package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/account"
	"portico/deployhook/agent/health"
	"portico/deployhook/agent/listener"
	"portico/deployhook/agent/process"
	"portico/deployhook/agent/state"
	"portico/deployhook/agent/static"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// running is a started instance, whatever its kind.
type running interface {
	listener.Instance

	// ended is closed when it ended by itself; nil when it cannot. outcome says
	// how, after that.
	ended() <-chan struct{}
	outcome() string

	check(ctx context.Context, c health.Check) catalog.Probe

	// Stop ends it, asking first, and returns when nothing is left of it. It is
	// called at most once, and not after detach.
	stop(ctx context.Context, grace time.Duration)
	// detach forgets it without stopping it.
	detach()
	// stays reports whether it lives on without the agent by its nature, so that
	// a stopping agent leaves it alone.
	stays() bool
}

// instance is one start of one release on this machine.
type instance struct {
	running
	rec state.Instance
}

// detach forgets the instance but leaves it running.
func (i *instance) detach() { i.running.detach() }

// attach makes an instance reachable for proxies and durable for the next agent.
func (a *Agent) attach(i *instance) {
	known := false
	a.state.Peek(func(s *state.File) { known = s.Instances[i.rec.ID] == i.rec })
	if !known {
		a.state.Save(func(s *state.File) { s.Instances[i.rec.ID] = i.rec })
	}
	a.link(i)
}

// link makes an instance reachable for proxies.
func (a *Agent) link(i *instance) {
	a.mu.Lock()
	if s, ok := i.running.(*staticSite); ok {
		s.Others = func() []*static.Site { return a.otherStatic(i) }
	}
	a.instances[i.rec.ID] = i
	a.mu.Unlock()
}

// unlink makes an instance unreachable: open connections to it are closed, so
// that proxies notice at once.
func (a *Agent) unlink(i *instance) {
	a.mu.Lock()
	delete(a.instances, i.rec.ID)
	a.mu.Unlock()
	a.web.Cut(i.rec.ID)
	a.checks.Gone(i.rec.ID)
}

// forget removes an instance from the state.
func (a *Agent) forget(id string) {
	a.state.Save(func(s *state.File) { delete(s.Instances, id) })
}

// otherStatic returns the other releases of an instance's static site that are current or
// retire: the current one first, then the latest.
func (a *Agent) otherStatic(i *instance) []*static.Site {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []*instance
	present := map[*instance]bool{}
	for _, o := range a.instances {
		u := a.units[unitKey{o.rec.Site, o.rec.Release}]
		if _, ok := o.running.(*staticSite); !ok || o == i || o.rec.Site != i.rec.Site || u == nil || u.want.Duty == messages.DutyCandidate {
			continue
		}
		present[o] = u.want.Duty == messages.DutyCurrent
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b *instance) int {
		if present[a] != present[b] {
			if present[a] {
				return -1
			}
			return 1
		}
		return b.rec.Started.Compare(a.rec.Started)
	})
	out := make([]*static.Site, len(list))
	for n, o := range list {
		out[n] = o.running.(*staticSite).Site
	}
	return out
}

// reachable returns the instance that proxies mean by an id.
func (a *Agent) reachable(id string) listener.Instance {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := a.instances[id]; i != nil {
		return i
	}
	return nil
}

// adopt finds the recorded instances that still live, and makes them reachable before the agent
// does anything else. Of two of one release it keeps the younger and kills the other.
func (a *Agent) adopt() map[unitKey]*instance {
	var records []state.Instance
	a.state.Peek(func(s *state.File) {
		for _, r := range s.Instances {
			records = append(records, r)
		}
	})
	live := make(map[unitKey]*instance)
	for _, rec := range records {
		run := a.revive(rec)
		if run == nil {
			a.log.Info("instance did not survive", "site", rec.Site, "instance", rec.ID)
			a.forget(rec.ID)
			a.mu.Lock()
			a.endedLocked(endedReport(rec, a.o.Name, "it ended while the agent was away"))
			a.mu.Unlock()
			continue
		}
		k := unitKey{rec.Site, rec.Release}
		if old := live[k]; old != nil {
			if old.rec.Started.After(rec.Started) {
				a.working.Go(func() { run.stop(a.force, 0) })
				continue
			}
			a.working.Go(func() { old.stop(a.force, 0) })
		}
		live[k] = &instance{running: run, rec: rec}
	}
	for _, i := range live {
		a.link(i)
		a.log.Info("instance adopted", "site", i.rec.Site, "release", i.rec.Release, "instance", i.rec.ID, "pid", i.rec.PID)
		if i.rec.Port != 0 && i.rec.PID != 0 {
			a.ports.Reserve(i.rec.Port)
		}
	}
	return live
}

// reviveRun finds the recorded process of an instance, nil if it is gone.
func (a *Agent) reviveRun(rec state.Instance) *runSite {
	uid, err := a.recordedUser(rec)
	if err != nil {
		// What is left of it is killed with the strays.
		a.log.Warn("instance not adopted", "site", rec.Site, "instance", rec.ID, "error", err)
		return nil
	}
	p, ok := process.Adopt(rec.PID, rec.Mark, rec.ID, func(p *process.Process) {
		a.containAdopted(p, account.Account{UID: uid, Shared: !a.sites.OwnID(uid)})
	})
	if !ok {
		return nil
	}
	return &runSite{a: a, proc: p, port: rec.Port, uid: uid}
}

// revive returns the recorded instance if it lives, nil if not.
func (a *Agent) revive(rec state.Instance) running {
	switch rec.Kind {
	case sites.KindRun:
		if r := a.reviveRun(rec); r != nil {
			return r
		}
		return nil
	case sites.KindStatic:
		s, err := a.openStatic(rec.Site, rec.Release, a.rememberedSettings(rec))
		if err != nil {
			return nil
		}
		return s
	case sites.KindTomcat:
		if rec.PID != 0 {
			return a.reviveTomcat(rec)
		}
		if a.tom == nil {
			return nil
		}
		return &tomcatSite{a: a, context: rec.Context, version: rec.Tomcat}
	case sites.KindHook:
		var active string
		a.state.Peek(func(s *state.File) { active = s.Hooks[rec.Site] })
		uid, err := a.recordedUser(rec)
		if active != rec.Release || err != nil {
			return nil
		}
		return newHookSite(a, rec, uid)
	}
	return nil
}

// recordedUser returns the user id that an instance was started as.
func (a *Agent) recordedUser(rec state.Instance) (int, error) {
	if rec.UID != 0 {
		return rec.UID, nil
	}
	// An agent before that field wrote the record.
	acc, err := a.siteAccount(rec.Site, a.rememberedSettings(rec))
	return acc.UID, err
}

// rememberedSettings returns the settings of an instance's release in the last wanted
// state.
func (a *Agent) rememberedSettings(rec state.Instance) (s sites.Settings) {
	a.state.Peek(func(f *state.File) {
		if f.Wanted == nil {
			return
		}
		for _, r := range f.Wanted.Releases {
			if r.Site == rec.Site && r.Release == rec.Release {
				s = r.Settings
			}
		}
	})
	return s
}

func endedReport(rec state.Instance, member, detail string) messages.InstanceReport {
	return messages.InstanceReport{
		Instance: catalog.Instance{
			ID: rec.ID, Site: rec.Site, Release: rec.Release, Member: member,
			State: catalog.InstanceExited, Detail: detail, Started: rec.Started,
		},
		Progress: catalog.MemberProgress{Step: catalog.StepStopped, Detail: detail, Updated: time.Now()},
	}
}

// killStrays kills processes of this agent's sites that no record knows: an agent was
// killed between a start and its record.
func (a *Agent) killStrays(live map[unitKey]*instance) {
	known := make(map[string]bool, len(live))
	for _, i := range live {
		known[i.rec.ID] = true
	}
	own := filepath.Join(a.o.Dir, "sites") + string(filepath.Separator)
	strays := process.Instances(func(id, data string) bool { return strings.HasPrefix(data, own) && !known[id] })
	for _, pid := range strays {
		a.log.Warn("unknown process of a site killed", "pid", pid)
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	}
	a.sweepGroups(known)
	a.sweepUsers()
}
