package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/backoff"
	"portico/deployhook/agent/folders"
	"portico/deployhook/agent/state"
	"portico/deployhook/objects"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

// Why a unit ends.
var (
	errWithdrawn = errors.New("the release is not wanted any more")
	errStopping  = errors.New("the agent shuts down")
	errLeaving   = errors.New("the agent leaves its instances to the next one")
)

// candidateTries is how often a candidate's process may end before the deploy fails. The
// first end may be due to another program, which took the port just before.
const candidateTries = 2

// unit brings one release up on this machine and keeps it up. One goroutine does all of its
// work, in order.
type unit struct {
	a      *Agent
	key    unitKey
	log    *slog.Logger
	number int // of this unit, see health.NextTurn

	ctx    context.Context // ends with the cause for which the unit ends; keepsOn makes it anew
	cancel context.CancelCauseFunc
	wake   chan struct{} // capacity 1: want has changed

	// guarded by a.mu
	want   messages.WantedRelease
	rep    messages.InstanceReport
	failed string // the deploy that failed here and is not tried again; "": none

	// owned by the goroutine
	inst    *instance
	backoff backoff.Backoff
	tries   int       // starts of this candidate that ended early
	since   time.Time // first failure to prepare this release; zero: none
	lastEnd string    // how the last run ended, while the runs are short ones
}

func newUnit(a *Agent, k unitKey, want messages.WantedRelease, inst *instance) *unit {
	u := &unit{a: a, key: k, want: want, inst: inst, wake: make(chan struct{}, 1)}
	u.log = a.log.With("site", k.site, "release", short(k.release))
	u.ctx, u.cancel = context.WithCancelCause(context.Background())
	u.rep = u.freshReport()
	if inst != nil {
		u.rep.ID, u.rep.Started = inst.rec.ID, inst.rec.Started
		u.rep.Progress.Step = catalog.StepStarting
	}
	return u
}

// short returns how people see a release.
func short(release string) string { return ids.ShortRelease(release) }

// files returns the digest of the release's files.
func (u *unit) files() string { return ids.FilesOf(u.key.release) }

// freshReport returns the report of an attempt that has just begun. Its instance has a new id,
// which the first start uses.
func (u *unit) freshReport() messages.InstanceReport {
	now := time.Now()
	return messages.InstanceReport{
		Instance: catalog.Instance{
			ID: ids.NewInstance(), Site: u.key.site, Release: u.key.release, Member: u.a.o.Name,
			State: catalog.InstanceStarting, Started: now,
			Unpinned: u.want.Settings.Kind == sites.KindStatic,
		},
		Progress: catalog.MemberProgress{Step: catalog.StepWaiting, Updated: now},
	}
}

// reportLocked returns what is to be told about this unit.
func (u *unit) reportLocked() messages.InstanceReport {
	r := u.rep
	r.Deploy = u.want.Deploy
	if i := u.a.instances[r.ID]; i != nil {
		r.Port = i.rec.Port
	}
	return r
}

// update changes what is wanted of the unit; a.mu is held.
func (u *unit) update(want messages.WantedRelease) {
	again := u.failed != "" && want.Deploy != u.want.Deploy
	u.want = want
	if i := u.a.instances[u.rep.ID]; i != nil {
		if s, ok := i.running.(*staticSite); ok {
			s.MoveTo(want.Settings)
		}
	}
	if again {
		// A new attempt has an id of its own: the one that failed may have run.
		u.failed, u.rep = "", u.freshReport()
	}
	signal(u.wake)
}

// keepsOn lets a unit that is ending go on, because its release is wanted once more, and reports
// whether it does. The unit must not have stopped anything yet. While the agent shuts down, no
// unit goes on.
func (u *unit) keepsOn() bool {
	u.a.mu.Lock()
	defer u.a.mu.Unlock()
	if u.a.closing || !u.a.wantsLocked(u.key) {
		return false
	}
	u.ctx, u.cancel = context.WithCancelCause(context.Background())
	return true
}

// end tells the unit to end, and why. Of several reasons the first one counts. It does not wait.
func (u *unit) end(cause error) { u.cancel(cause) }

func (u *unit) ending() bool { return u.ctx.Err() != nil }

func (u *unit) wanted() messages.WantedRelease {
	u.a.mu.Lock()
	defer u.a.mu.Unlock()
	return u.want
}

// set changes the report and has it sent.
func (u *unit) set(change func(r *messages.InstanceReport)) {
	u.a.mu.Lock()
	change(&u.rep)
	u.rep.Progress.Updated = time.Now()
	u.a.mu.Unlock()
	signal(u.a.dirty)
}

func (u *unit) step(s catalog.Step, detail string) {
	u.set(func(r *messages.InstanceReport) {
		r.Progress.Step, r.Progress.Detail = s, detail
	})
}

// run is the unit's goroutine.
func (u *unit) run() {
	if u.inst != nil {
		u.a.attach(u.inst)
		u.live(u.inst)
	}
	for !u.ending() {
		if why := u.a.heldBack(u.key.site); why != "" {
			u.waitHeld(why)
			continue
		}
		if !u.mayStart() {
			select {
			case <-u.wake:
			case <-u.ctx.Done():
			}
			continue
		}
		want := u.wanted()
		inst, err := u.begin(want)
		if err != nil {
			u.beginFailed(want, err)
			continue
		}
		u.live(inst)
	}
}

// mayStart reports whether an instance should be started now. It should not if the release only
// serves the rest of its sessions, if its deploy has failed here, or if a candidate needs the port.
func (u *unit) mayStart() bool {
	u.a.mu.Lock()
	defer u.a.mu.Unlock()
	return !retiresOnly(u.want) && !u.failedLocked() && !u.waitsForCandidate()
}

// retiresOnly reports whether a release only serves the sessions that it has here, so that it is
// never started again. A former release of files is started again: it can serve visits that
// began at another server, and pages that browsers keep, whose requests come without a cookie
// to any server. With a before command it is not: nobody knows here what that made of the files.
func retiresOnly(r messages.WantedRelease) bool {
	return r.Duty == messages.DutyRetiring && (r.Settings.Kind != sites.KindStatic || len(r.Settings.Deploy.Before) > 0)
}

// failedLocked reports whether this candidate's deploy failed here.
func (u *unit) failedLocked() bool {
	return u.want.Duty == messages.DutyCandidate && u.failed != "" && u.failed == cmp.Or(u.want.Deploy, unnamed)
}

// unnamed stands for a deploy without an id.
const unnamed = "unnamed"

// begin prepares the release and starts an instance.
func (u *unit) begin(want messages.WantedRelease) (*instance, error) {
	rel, err := u.install(want)
	if err != nil {
		return nil, err
	}
	if err := u.before(want, rel); err != nil {
		return nil, err
	}
	u.set(func(r *messages.InstanceReport) {
		r.State, r.Started = catalog.InstanceStarting, time.Now()
		r.Progress = catalog.MemberProgress{Step: catalog.StepStarting, Detail: r.Progress.Detail}
	})
	u.a.mu.Lock()
	rec := state.Instance{
		ID: u.rep.ID, Site: u.key.site, Release: u.key.release,
		Kind: want.Settings.Kind, Started: u.rep.Started,
	}
	u.a.mu.Unlock()
	inst, err := u.start(want, rel, rec)
	if err != nil {
		return nil, err
	}
	u.a.attach(inst)
	u.log.Info("instance started", "instance", inst.rec.ID, "kind", inst.rec.Kind, "port", inst.rec.Port, "pid", inst.rec.PID)
	return inst, nil
}

// start starts an instance of the site's kind.
func (u *unit) start(want messages.WantedRelease, rel folders.Release, rec state.Instance) (*instance, error) {
	switch want.Settings.Kind {
	case sites.KindRun:
		return u.startRun(want, rel, rec)
	case sites.KindStatic:
		return u.startStatic(want, rel, rec)
	case sites.KindTomcat:
		return u.startTomcat(want, rel, rec)
	case sites.KindHook:
		return u.startHook(want, rel, rec)
	}
	return nil, final(fmt.Errorf("kind %q is not known to this agent: update it", want.Settings.Kind))
}

// finalError is a failure that another attempt will not change.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

func final(err error) error { return finalError{err} }

// beginFailed reports that an attempt to start an instance failed, and waits before the next
// attempt. A candidate fails for good after its deploy's timeout, or at once if another attempt
// would be of no use.
func (u *unit) beginFailed(want messages.WantedRelease, err error) {
	if u.ending() {
		return
	}
	if u.since.IsZero() {
		u.since = time.Now()
	}
	var fe finalError
	if objects.DiskFull(err) {
		u.a.giveBack(u.ctx, u.key)
		err = fmt.Errorf("%w: free some room on the file system of %s", err, u.a.o.Dir)
	}
	useless := errors.As(err, &fe) || objects.DiskFull(err)
	if want.Duty == messages.DutyCandidate && (useless || time.Since(u.since) > timeout(want.Settings)) {
		u.fail(want, err.Error(), nil)
		return
	}
	delay := u.backoff.Next(0)
	u.log.Warn("release not started", "error", err, "attempt", u.backoff.Runs(), "again", delay)
	u.set(func(r *messages.InstanceReport) {
		r.Detail = err.Error()
		r.Progress.Detail = err.Error()
		if want.Duty != messages.DutyCandidate {
			r.Progress.Step = catalog.StepFailed
		}
	})
	u.sleep(delay)
}

// fail ends a candidate's part of a deploy.
func (u *unit) fail(want messages.WantedRelease, detail string, log []string) {
	u.log.Error("release failed", "error", detail, "again", "with the next deploy")
	u.since, u.tries = time.Time{}, 0
	u.backoff.Reset()
	u.set(func(r *messages.InstanceReport) {
		u.failed = cmp.Or(want.Deploy, unnamed)
		r.State, r.Detail = catalog.InstanceExited, detail
		r.Progress.Step, r.Progress.Detail = catalog.StepFailed, detail
		if log != nil {
			r.Progress.Log = log
		}
	})
	u.a.wakeSite(u.key.site)
}

// sleep waits for d, a change of what is wanted, or the end.
func (u *unit) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-u.wake:
	case <-u.ctx.Done():
	}
}

func timeout(s sites.Settings) time.Duration {
	if d := s.Deploy.Timeout.Std(); d > 0 {
		return d
	}
	return 60 * time.Second
}

func grace(s sites.Settings) time.Duration {
	if d := s.Deploy.Grace.Std(); d > 0 {
		return d
	}
	return 10 * time.Second
}
