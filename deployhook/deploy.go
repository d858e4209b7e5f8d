package deployhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"portico/conf/sites"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/membership/catalog/ids"
)

const (
	// walkEvery is how often a running deploy or a retiring release is looked
	// at without a reason: for what is not told, such as silence, deadlines and
	// the proxy's own checks.
	walkEvery = 500 * time.Millisecond
	// idleEvery is the same when there is nothing to walk.
	idleEvery = 30 * time.Second
	// elsewhereWait is how long a healthy instance waits for the checks of the other
	// proxies: one that cannot reach a server must not hold up every deploy.
	elsewhereWait = 15 * time.Second
	// writeDeadline bounds one change of the catalog. Without a quorum the
	// controller waits for the next turn; traffic does not depend on it.
	writeDeadline = 5 * time.Second
)

// run is the controller: one goroutine that looks at the catalog and the
// reports, and writes only what has changed.
func (d *Deployer) run(changed <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-changed:
		case <-d.poke:
		case <-timer.C:
		}
		if d.walk() {
			timer.Reset(walkEvery)
		} else {
			timer.Reset(idleEvery)
		}
	}
}

// walk does one turn and reports whether there is something under way. While another
// proxy leads, this one only takes note.
func (d *Deployer) walk() bool {
	v := d.o.Catalog.View()
	busy := false
	term := d.term()
	if term != d.walked { // what was remembered of drains is of another time
		d.walked = term
		clear(d.drains)
	}
	maps.DeleteFunc(d.deploys, func(id string, _ time.Time) bool {
		deploy := v.Deploy(id)
		return deploy == nil || deploy.State != catalog.DeployRunning
	})
	for _, deploy := range v.Deploys {
		if deploy.State == catalog.DeployRunning {
			busy = true
			if term != nil {
				d.step(deploy.ID)
			}
		}
	}
	for _, deploy := range d.o.Catalog.View().Deploys {
		if deploy.State == catalog.DeployRunning || d.history.Follows(deploy.ID) {
			if d.history.Observe(deploy, time.Now()) {
				d.logEnd(deploy)
			}
		}
	}
	known := func(member string) bool { return v.Members[member] != nil }
	d.live.forget(known)
	d.presence.Forget(known)
	if term == nil {
		return busy
	}
	for name, site := range v.Sites {
		if len(site.Retiring) > 0 {
			busy = true
			d.retire(name)
		}
		if site.Candidate != "" && orphaned(v, site) {
			d.update("clear candidate", func(tx *catalog.Tx) error { return clearOrphan(tx, name) })
		}
	}
	if d.watchDrains(v, time.Now()) {
		busy = true
	}
	if d.move(d.o.Catalog.View(), time.Now()) {
		busy = true
	}
	return busy
}

// update changes the catalog in the controller's name. An error is logged and
// met again at the next turn.
func (d *Deployer) update(what string, change func(tx *catalog.Tx) error) {
	ctx, cancel := context.WithTimeout(d.ctx, writeDeadline)
	defer cancel()
	if _, err := d.o.Catalog.Update(ctx, change); err != nil && d.ctx.Err() == nil {
		d.logger.Warn("deploy step not written", "step", what, "error", err)
	}
}

// began is when the controller saw a deploy that runs first, by a clock that nobody sets.
func (d *Deployer) began(id string, now time.Time) time.Time {
	if _, ok := d.deploys[id]; !ok {
		d.deploys[id] = now
	}
	return d.deploys[id]
}

// step moves one deploy on.
func (d *Deployer) step(id string) {
	d.update("plan", func(tx *catalog.Tx) error {
		deploy, err := tx.Deploy(id)
		if errors.Is(err, catalog.ErrNotFound) || deploy.State != catalog.DeployRunning {
			return nil
		}
		if err != nil {
			return err
		}
		return d.apply(tx, deploy, time.Now())
	})
}

// apply plans a deploy and writes what came out.
func (d *Deployer) apply(tx *catalog.Tx, deploy catalog.Deploy, now time.Time) error {
	site, err := tx.Site(deploy.Site)
	if err != nil || site.Deploy != deploy.ID {
		deploy.State, deploy.Ended = catalog.DeploySuperseded, now.UTC()
		deploy.Error = "the site was removed or moved on meanwhile"
		return tx.PutDeploy(deploy)
	}
	release, err := tx.Release(deploy.Site, deploy.Release)
	if err != nil {
		return d.end(tx, site, deploy, Decision{State: catalog.DeployFailed, Error: "the release is gone", Members: deploy.Members}, now)
	}
	settings, err := site.EffectiveFor(&release)
	if err != nil {
		return d.end(tx, site, deploy, Decision{State: catalog.DeployFailed, Error: err.Error(), Members: deploy.Members}, now)
	}
	decision := Plan(Situation{Deploy: deploy, Settings: settings, Servers: d.servers(tx.View(), &deploy, settings, now), Now: now, Began: d.began(deploy.ID, now), Homeless: tx.View().Homeless(site.Name, settings)})
	if decision.State == catalog.DeploySucceeded {
		if err := command.CheckHosts(tx.View(), command.Claim{Site: site.Name, Settings: settings, By: deploy.By}); err != nil {
			decision.State, decision.Error = catalog.DeployFailed, err.Error()
		}
	}
	if decision.State != catalog.DeployRunning {
		return d.end(tx, site, deploy, decision, now)
	}
	_, err = command.SetProgress(tx, deploy.ID, decision.Members) // what has not changed is not written
	return err
}

// servers looks at every application server that the site belongs on with the eyes of one deploy.
func (d *Deployer) servers(v *catalog.View, deploy *catalog.Deploy, settings sites.Settings, now time.Time) []Server {
	var list []Server
	for _, m := range v.Servers(settings) {
		hint := d.o.Alive == nil || d.o.Alive(m.Name)
		word, changed := d.live.progress(m.Name, deploy)
		s := Server{
			Name: m.Name, Addr: m.Addr, Changed: changed,
			Away: d.presence.Away(m.Name, now, hint),
			Idle: m.Admin == catalog.AdminDrain || m.Admin == catalog.AdminMaint,
		}
		if s.Changed.Before(d.started) {
			s.Changed = d.started
		}
		if word != nil {
			s.Report, s.Failing = &word.Progress, word.State == catalog.InstanceFailing
			s.Verified = d.o.InRotation == nil || word.ID != "" && d.o.InRotation(word.ID) && (now.Sub(s.Changed) > elsewhereWait || d.inRotationElsewhere(v, word.ID, now))
		}
		list = append(list, s)
	}
	return list
}

// inRotationElsewhere reports whether the checks of every other proxy that answers pass
// too. Nobody waits for one that does not.
func (d *Deployer) inRotationElsewhere(v *catalog.View, instance string, now time.Time) bool {
	for _, m := range d.otherProxies(v) {
		if h, asked := d.others.said(m.Name, instance, now); asked && !h.InRotation {
			return false
		} else if !asked && d.others.answers(m.Name, now) {
			d.ask() // it is there, and was not asked about this one yet
			return false
		}
	}
	return true
}

// end writes the outcome of a deploy: promotion or return, in one change.
func (d *Deployer) end(tx *catalog.Tx, site catalog.Site, deploy catalog.Deploy, decision Decision, now time.Time) error {
	if _, err := command.SetProgress(tx, deploy.ID, decision.Members); err != nil {
		return err
	}
	var err error
	if decision.State == catalog.DeploySucceeded {
		deploy, err = command.PromoteDeploy(tx, deploy.ID, now)
	} else {
		deploy, err = command.FailDeploy(tx, deploy.ID, decision.Error, decision.Hint, now)
		forgetUntried(tx, site, deploy)
	}
	if err != nil {
		return err
	}
	deploy.Hint = decision.Hint
	entry := catalog.AuditEntry{
		ID: ids.New(now), At: now.UTC(), By: "portico", Action: "deploy " + string(deploy.State),
		Object: deploy.Site, Detail: deploy.Release, Failed: deploy.State == catalog.DeployFailed,
	}
	if deploy.Error != "" {
		entry.Detail += ": " + cut(deploy.Error, maxDetail)
	}
	return errors.Join(tx.PutDeploy(deploy), tx.Audit(entry))
}

// forgetUntried drops the release of a failed deploy if it never ran, so that
// nobody rolls back to it. Its objects stay for a while, which makes the next
// attempt quick.
func forgetUntried(tx *catalog.Tx, site catalog.Site, deploy catalog.Deploy) {
	release, err := tx.Release(site.Name, deploy.Release)
	untried := err == nil && !release.Created.Before(deploy.Created)
	used := site.Release == deploy.Release ||
		slices.ContainsFunc(site.Retiring, func(r catalog.Retiring) bool { return r.Release == deploy.Release })
	if untried && !used {
		tx.DeleteRelease(site.Name, deploy.Release)
	}
}

// orphaned reports whether a site waits for a deploy that is not running.
func orphaned(v *catalog.View, site *catalog.Site) bool {
	deploy := v.Deploy(site.Deploy)
	return deploy == nil || deploy.State != catalog.DeployRunning
}

func clearOrphan(tx *catalog.Tx, name string) error {
	site, err := tx.Site(name)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if deploy, err := tx.Deploy(site.Deploy); err == nil && deploy.State == catalog.DeployRunning {
		return nil
	}
	site.Candidate, site.Deploy = "", ""
	return tx.PutSite(site)
}

func busyError(site string, running *catalog.Deploy) *refusal.Error {
	return refusal.New(409, "deploy_running", fmt.Sprintf("wait for it: portico deploys %s, or GET /v1/deploys/%s/events", site, running.ID),
		"site %q is being deployed by %s since %s", site, running.By, running.Created.Format(time.RFC3339))
}

// Wait returns the deploy once it has ended, or as it is when ctx ends.
func (d *Deployer) Wait(ctx context.Context, id string) (catalog.Deploy, error) {
	ctx, done := d.during(ctx)
	defer done()
	changed, cancel := d.o.Catalog.Subscribe()
	defer cancel()
	for {
		deploy := d.o.Catalog.View().Deploy(id)
		if deploy == nil {
			return catalog.Deploy{}, refusal.New(404, "not_found", "", "there is no deploy %q", id)
		}
		if deploy.State != catalog.DeployRunning {
			return *deploy, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return *deploy, context.Cause(ctx)
		}
	}
}
