package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/backoff"
	"portico/deployhook/agent/health"
	"portico/deployhook/agent/logs"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// live watches an instance until it ends, fails its start or is to end, and
// leaves nothing of it behind except where the cause says so.
func (u *unit) live(inst *instance) {
	u.inst = inst
	defer func() { u.inst = nil }()
	u.since = time.Time{}
	began := time.Now()
	end := u.watch(inst)
	for u.withdrawn(end) && u.waitEmpty(inst) {
		u.log.Info("instance goes on", "instance", inst.rec.ID, "why", "its release is wanted again")
		end = u.watch(inst)
	}
	switch {
	case end.exited:
		u.exited(inst, end, time.Since(began))
	case end.late:
		u.a.unlink(inst)
		log := u.logTail(inst)
		inst.stop(u.a.force, grace(u.wanted().Settings))
		u.gone(inst)
		u.fail(u.wanted(), end.detail, log)
	case end.held != "":
		u.stopHeld(inst, end.held)
	default:
		u.finish(inst, context.Cause(u.ctx))
	}
}

// ending says why watch returned; none of exited and late: the unit is to end.
type ending struct {
	exited  bool   // the process is gone
	late    bool   // it was not healthy in time
	healthy bool   // it has been healthy
	held    string // why its site is held back
	detail  string
}

// watch probes an instance and reports every change of its health.
func (u *unit) watch(inst *instance) ending {
	h := &health.Rule{}
	results := make(chan catalog.Probe, 1)
	ctx, cancel := context.WithCancel(u.ctx)
	var probing sync.WaitGroup
	defer probing.Wait()
	defer cancel()
	next := time.NewTimer(0)
	defer next.Stop()
	asks, asked := false, "" // whether a check is under way, and what the last one asks
	for {
		want := u.wanted()
		if why := u.a.heldBack(u.key.site); why != "" {
			return ending{held: why, healthy: h.Ever}
		}
		select {
		case <-inst.ended():
			return ending{exited: true, healthy: h.Ever, detail: inst.outcome()}
		case <-u.ctx.Done():
			return ending{healthy: h.Ever}
		case <-u.wake:
			signal(u.a.dirty)
			if !asks && asked != u.wanted().Settings.Question() {
				next.Reset(0)
			}
		case <-next.C:
			asks, asked = true, want.Settings.Question()
			probing.Go(func() { results <- u.check(ctx, inst, want.Settings) })
		case p := <-results:
			asks = false
			if u.ctx.Err() != nil {
				continue // the end cut the probe short: it says nothing
			}
			if want = u.wanted(); p.Asked != want.Settings.Question() { // something else is to be asked by now
				next.Reset(0)
				continue
			}
			u.probed(h, p, want.Settings)
			if late := u.late(h, p, want); late != "" {
				return ending{late: true, detail: late}
			}
			next.Reset(u.pause(h, want.Settings.Health))
		}
	}
}

// check makes one check of an instance, and tells proxies of it.
func (u *unit) check(ctx context.Context, inst *instance, s sites.Settings) catalog.Probe {
	c := health.CheckOf(u.key.site, s)
	u.a.checks.Began()
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	p := inst.check(limited, c)
	p.Asked = s.Question()
	if ctx.Err() != nil {
		u.a.checks.Dropped() // the end cut it short: it says nothing
		return p
	}
	ok := p.OK && u.a.room.There(u.a.traffic) // the agent's checks have descriptors that visitors have not: then proxies look for themselves
	u.a.checks.Over(messages.CheckResult{
		ID: inst.rec.ID, Asked: p.Asked, OK: ok, Code: p.Code, Status: p.Status, Took: p.Latency.Std(),
	})
	return p
}

// pause is how long to wait for the next check: once the instance has been healthy, until the agent checks others as well.
func (u *unit) pause(h *health.Rule, s sites.Health) time.Duration {
	if !h.Ever {
		return h.Interval(s)
	}
	return health.NextTurn(health.Every(s), u.number)
}

// probed feeds the outcome of a check to the rule and reports what changed.
func (u *unit) probed(h *health.Rule, p catalog.Probe, s sites.Settings) {
	u.a.mu.Lock()
	last := u.rep.Progress.Probe
	u.a.mu.Unlock()
	if last != nil && last.Asked != p.Asked {
		h.NewQuestion()
	}
	was := h.Healthy
	changed := h.Observe(p.OK, s.Health)
	first := last == nil || last.Code != p.Code || last.Asked != p.Asked
	settled := u.settled()
	if !changed && !first && !settled {
		u.a.mu.Lock()
		u.rep.Progress.Probe = &p
		u.a.mu.Unlock()
		return
	}
	if settled {
		u.lastEnd = ""
	}
	u.set(func(r *messages.InstanceReport) {
		r.Progress.Probe = &p
		switch {
		case h.Healthy:
			r.State, r.Detail = catalog.InstanceHealthy, u.restless()
			r.Progress.Step, r.Progress.Detail, r.Progress.Log = catalog.StepHealthy, "", nil
		case h.Ever:
			r.State, r.Detail = catalog.InstanceFailing, health.Describe(p)
		default:
			r.Progress.Detail = "not healthy yet: " + health.Describe(p)
		}
	})
	switch {
	case h.Healthy && !was:
		u.tries = 0
		u.log.Info("instance healthy", "instance", u.inst.rec.ID)
	case was && !h.Healthy:
		u.log.Warn("instance failing", "instance", u.inst.rec.ID, "probe", health.Describe(p))
	}
}

// restless says of an instance that is healthy at the moment how those before it have ended, where they
// did so one after the other: it may be next. Nobody could tell it from a sound one else.
func (u *unit) restless() string {
	if u.lastEnd == "" || !u.backoff.Looping() {
		return ""
	}
	return fmt.Sprintf("in a crash loop: %d short runs in a row before this one, the last %s", u.backoff.Runs(), u.lastEnd)
}

// settled reports whether the instance has run for long enough now to count as sound again.
func (u *unit) settled() bool { return u.lastEnd != "" && time.Since(u.started()) > backoff.StableRun }

// late returns why a candidate that is still not healthy has failed, or "".
// What is not a candidate may take as long as it likes: it could be waiting for
// a database, and starting it again would not help.
func (u *unit) late(h *health.Rule, p catalog.Probe, want messages.WantedRelease) string {
	limit := timeout(want.Settings)
	if h.Ever || want.Duty != messages.DutyCandidate || time.Since(u.started()) < limit {
		return ""
	}
	return fmt.Sprintf("not healthy within %v (deploy.timeout): the last check of %s: %s",
		limit, health.CheckOf(u.key.site, want.Settings).What(), health.Describe(p))
}

func (u *unit) started() time.Time {
	u.a.mu.Lock()
	defer u.a.mu.Unlock()
	return u.rep.Started
}

// exited deals with an instance that ended by itself.
func (u *unit) exited(inst *instance, end ending, ran time.Duration) {
	u.a.unlink(inst)
	log := u.logTail(inst)
	inst.stop(u.a.force, 0) // frees the port, and ends what the process left behind
	want := u.wanted()
	detail := "the process ended: " + end.detail
	endLog := u.log.With("instance", inst.rec.ID, "how", end.detail, "after", ran.Round(time.Millisecond))
	if want.Duty == messages.DutyCandidate && !end.healthy {
		u.tries++
		if u.tries >= candidateTries {
			endLog.Warn("instance ended", "attempt", u.tries, "again", "with the next deploy")
			u.a.forget(inst.rec.ID)
			u.fail(want, detail+" before it was healthy", log)
			return
		}
	}
	u.gone(inst)
	if want.Duty == messages.DutyRetiring {
		endLog.Warn("instance ended", "again", "never: its release is a former one")
		u.set(func(r *messages.InstanceReport) {
			r.State, r.Detail = catalog.InstanceExited, detail
			r.Progress.Step, r.Progress.Detail = catalog.StepStopped, detail
		})
		return
	}
	delay := u.backoff.Next(ran)
	u.lastEnd = "ended with " + end.detail
	endLog.Warn("instance ended", "attempt", u.backoff.Runs(), "again", delay)
	u.set(func(r *messages.InstanceReport) {
		r.Progress.Step, r.Progress.Log = catalog.StepStarting, log
		r.Detail = fmt.Sprintf("%s; it starts again in %v", detail, delay)
		if u.backoff.Looping() {
			r.State = catalog.InstanceFailing
			r.Detail = fmt.Sprintf("crash loop, %d short runs in a row: %s; it starts again in %v", u.backoff.Runs(), detail, delay)
			if want.Duty != messages.DutyCandidate {
				r.Progress.Step = catalog.StepFailed
			}
		}
		r.Progress.Detail = r.Detail
	})
	u.sleep(delay)
}

// gone tells that an instance is no more and opens the report of the next one.
func (u *unit) gone(inst *instance) {
	u.a.forget(inst.rec.ID)
	u.a.mu.Lock()
	r := u.rep
	r.State = catalog.InstanceExited
	if inst.ended() != nil && inst.outcome() != "" {
		r.Detail = "the process ended: " + inst.outcome()
	}
	r.Progress = catalog.MemberProgress{Step: catalog.StepStopped, Detail: r.Detail, Updated: time.Now()}
	probe := u.rep.Progress.Probe
	u.a.endedLocked(r)
	u.rep = u.freshReport()
	u.rep.Progress.Probe = probe
	u.a.mu.Unlock()
}

// withdrawn reports whether an instance ends because its release is not wanted any more, while proxies may still use it.
func (u *unit) withdrawn(end ending) bool {
	return !end.exited && !end.late && end.held == "" && end.healthy && context.Cause(u.ctx) == errWithdrawn
}

// finish ends an instance for the unit's cause.
func (u *unit) finish(inst *instance, cause error) {
	if cause == errLeaving || cause == errStopping && inst.stays() {
		u.a.unlink(inst)
		inst.detach()
		return
	}
	s := u.wanted().Settings
	if cause == errStopping || cause == errWithdrawn {
		// Open connections may go on for the grace. The agent lets no new ones in.
		u.a.mu.Lock()
		delete(u.a.instances, inst.rec.ID)
		u.a.mu.Unlock()
	}
	inst.stop(u.a.force, grace(s))
	u.a.unlink(inst)
	if cause == errWithdrawn {
		u.removeHook()
	}
	u.log.Info("instance stopped", "instance", inst.rec.ID, "why", cause)
	u.a.forget(inst.rec.ID)
	u.a.mu.Lock()
	u.a.endedLocked(endedReport(inst.rec, u.a.o.Name, cause.Error()))
	u.a.mu.Unlock()
}

// waitEmpty tells the proxies that the instance wants to stop, and waits until each has said that it has no request
// there any more. So no request meets a closed port. The proxies decide how long requests may go on.
//
// It does not wait for a proxy that has been silent for StopWait. Such a proxy answers no report, and no other proxy
// passes its word on. It moves no byte of a connection to this machine. It does not connect either, as its health
// checks do; the agent's doubt makes it check. So it can have no request here.
//
// It reports true if the release is wanted again before that, by a rollback for instance. Then the instance goes on:
// the proxies need it once more and would never say that it may stop.
func (u *unit) waitEmpty(inst *instance) (goesOn bool) {
	if !u.a.members.Any() {
		return false
	}
	l := &stopWaiter{free: make(chan struct{}), said: map[string]bool{}}
	u.a.mu.Lock()
	u.a.stopOK[inst.rec.ID] = l
	u.a.mu.Unlock()
	u.step(catalog.StepStopped, waitsFor(nil))
	begun := time.Now()
	t := time.NewTimer(u.a.o.stopWait)
	defer t.Stop()
	ask := time.NewTicker(stopAsk)
	defer ask.Stop()
	u.a.web.NoteMoved() // what moved before does not count
	for asked, waiting := 0, true; waiting; {
		select {
		case <-l.free:
			return false
		case <-u.wake:
			goesOn = u.keepsOn()
			waiting = !goesOn
			continue
		case <-ask.C:
			u.a.askProxies(inst.rec.ID, asked)
			asked++
			continue
		case <-t.C:
			left, missing := u.a.patience(l, begun, time.Now())
			if left > 0 {
				u.step(catalog.StepStopped, waitsFor(missing))
				t.Reset(left)
				continue
			}
			u.log.Warn("a proxy is silent and cannot say whether an instance may stop: it stops", "instance", inst.rec.ID, "waited", time.Since(begun).Round(time.Second))
		case <-u.a.stopped:
		}
		waiting = false
	}
	u.a.mu.Lock()
	delete(u.a.stopOK, inst.rec.ID)
	u.a.mu.Unlock()
	return goesOn
}

// logTail returns the end of an instance's log for a report.
func (u *unit) logTail(inst *instance) []string {
	lines, _ := logs.Tail(u.a.dirs(u.key.site).Logs(), inst.rec.ID, 0, failureLines)
	return lines
}

// failureLines of log accompany a failure.
const failureLines = 40
