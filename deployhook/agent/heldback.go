package agent

import (
	"context"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/diskwatch"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// A site that fills the disk, or that keeps the agent from cutting its log, is
// held back: its instances are stopped and none is started until the reason is
// gone. The reports say the reason meanwhile.

// heldGrace is the most that such an instance gets to end: it could fill what is left.
const heldGrace = 5 * time.Second

// Why a site is held back.
const (
	heldForDisk = "disk"
	heldForLog  = "log"
)

// watchDisk holds sites to limits.disk and keeps the reserve.
func (a *Agent) watchDisk(ctx context.Context) {
	w := diskwatch.Watch{
		Dir: a.o.Dir, Reserve: a.o.DiskReserve, Logger: a.log,
		Sites: a.writingSites,
		Hold:  func(site, reason string) { a.holdBack(site, heldForDisk, reason) },
	}
	w.Run(ctx)
}

// writingSites are those that run something of their own: files alone do not grow.
func (a *Agent) writingSites() []diskwatch.Site {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []diskwatch.Site
	at := make(map[string]int)
	for _, u := range a.units {
		s := u.want.Settings
		if s.Kind == sites.KindStatic && len(s.Deploy.Before) == 0 {
			continue
		}
		i, ok := at[u.key.site]
		if !ok {
			i = len(list)
			at[u.key.site] = i
			list = append(list, diskwatch.Site{Name: u.key.site, Root: a.dirs(u.key.site).Root})
		}
		// The larger limit of two releases counts.
		switch limit := s.Limits.Disk.Bytes(); {
		case !ok, list[i].Limit != 0 && (limit == 0 || limit > list[i].Limit):
			list[i].Limit = limit
		}
	}
	return list
}

// holdBack holds a site back for one of the reasons, or lets it go with an empty text.
func (a *Agent) holdBack(site, reason, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.held[site][reason]
	if was == text {
		return
	}
	if a.held[site] == nil {
		a.held[site] = make(map[string]string)
	}
	a.held[site][reason] = text
	for k, u := range a.units {
		if k.site == site {
			signal(u.wake)
		}
	}
}

// heldBack returns why a site is held back; empty: it is not.
func (a *Agent) heldBack(site string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, reason := range []string{heldForDisk, heldForLog} {
		if text := a.held[site][reason]; text != "" {
			return text
		}
	}
	return ""
}

// stopHeld stops an instance of a site that is held back.
func (u *unit) stopHeld(inst *instance, why string) {
	u.a.unlink(inst)
	inst.stop(u.a.force, min(heldGrace, grace(u.wanted().Settings)))
	u.log.Warn("instance stopped", "instance", inst.rec.ID, "why", why)
	u.a.forget(inst.rec.ID)
	u.a.mu.Lock()
	u.a.endedLocked(endedReport(inst.rec, u.a.o.Name, why))
	u.rep = u.freshReport()
	u.a.mu.Unlock()
}

// waitHeld tells why no instance is started and waits until one may be.
func (u *unit) waitHeld(why string) {
	want := u.wanted()
	if want.Duty == messages.DutyCandidate {
		u.a.mu.Lock()
		failed := u.failedLocked()
		u.a.mu.Unlock()
		if !failed {
			u.fail(want, why, nil)
		}
	} else {
		u.set(func(r *messages.InstanceReport) {
			r.State, r.Detail = catalog.InstanceExited, why
			r.Progress.Step, r.Progress.Detail = catalog.StepFailed, why
		})
	}
	select {
	case <-u.wake:
	case <-u.ctx.Done():
	}
	if want.Duty != messages.DutyCandidate && !retiresOnly(want) && u.a.heldBack(u.key.site) == "" {
		u.a.mu.Lock()
		u.rep = u.freshReport() // an instance that was told to have ended never comes again
		u.a.mu.Unlock()
	}
}

// diskReport is the room on the file system of the state directory.
func (a *Agent) diskReport() messages.DiskReport {
	r := diskwatch.Free(a.o.Dir)
	return messages.DiskReport{Free: r.Free, Total: r.Total}
}
