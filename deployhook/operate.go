package deployhook

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"portico/deployhook/logs"
	"portico/deployhook/reply"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/membership/catalog/ids"
)

// minPrefix is the shortest piece of a digest that names a release.
const minPrefix = 6

// Rollback deploys a former release again. release is a digest, at least six
// characters of one, or empty for the release before the current one.
func (d *Deployer) Rollback(ctx context.Context, site, release string, noPin bool, by string) (catalog.Deploy, error) {
	var deploy catalog.Deploy
	now := time.Now()
	if release != "" && len(release) < minPrefix {
		return deploy, refusal.New(http.StatusBadRequest, "invalid", "portico releases "+site+" lists what there is",
			"%q is too short to name a release: at least %d characters of its digest are wanted", release, minPrefix)
	}
	_, err := d.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		if err := notBusy(tx, site); err != nil {
			return err
		}
		var err error
		deploy, err = command.Rollback(tx, command.DeployRequest{
			ID: ids.New(now), Release: catalog.Release{Site: site, Digest: release}, NoPin: noPin, By: by, Now: now,
		})
		return err
	})
	if err != nil {
		return catalog.Deploy{}, reply.RefusalOf(err)
	}
	d.begun(deploy)
	return deploy, nil
}

// Set changes what operators have set for a site. A change that running processes cannot follow
// begins a deploy of the files that run; begun says that it has.
func (d *Deployer) Set(ctx context.Context, site string, patch []byte, by string) (deploy catalog.Deploy, begun bool, err error) {
	now := time.Now()
	_, err = d.o.Catalog.Update(ctx, func(tx *catalog.Tx) (err error) {
		deploy, begun, err = command.SetOverride(tx, patch, command.DeployRequest{
			ID: ids.New(now), Release: catalog.Release{Site: site}, By: by, Now: now,
		})
		return err
	})
	if err != nil {
		return catalog.Deploy{}, false, reply.RefusalOf(err)
	}
	if begun {
		d.begun(deploy)
	}
	return deploy, begun, nil
}

// begun tells everybody who waits that there is a deploy.
func (d *Deployer) begun(deploy catalog.Deploy) {
	d.history.Observe(&deploy, deploy.Created)
	d.logger.Info("deploy begins", "site", deploy.Site, "deploy", deploy.ID, "release", deploy.Release, "by", deploy.By, "rollback", deploy.Rollback)
	if deploy.State != catalog.DeployRunning { // nothing was to be done
		d.logEnd(&deploy)
	}
	d.wake()
}

// notBusy refuses while a deploy of the site runs, with the words that help.
func notBusy(tx *catalog.Tx, site string) error {
	s, err := tx.Site(site)
	if err != nil || s.Deploy == "" {
		return nil // whoever comes next says what is wrong with the site
	}
	if running, err := tx.Deploy(s.Deploy); err == nil && running.State == catalog.DeployRunning {
		return busyError(site, &running)
	}
	return nil
}

// Remove takes a site away, with its releases; a running deploy of it ends. The
// agents stop its instances when nothing is under way there any more. Data
// folders stay on the application servers.
func (d *Deployer) Remove(ctx context.Context, site, by string) error {
	now := time.Now()
	_, err := d.o.Catalog.Update(ctx, func(tx *catalog.Tx) error { return command.RemoveSite(tx, site, now) })
	if err != nil {
		return reply.RefusalOf(err)
	}
	d.logger.Info("site removed", "site", site, "by", by)
	d.wake()
	return nil
}

// Cancel ends a running deploy of a site as failed. The release that ran before
// keeps serving.
func (d *Deployer) Cancel(ctx context.Context, site, by string) (catalog.Deploy, error) {
	var deploy catalog.Deploy
	now := time.Now()
	_, err := d.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		s, err := tx.Site(site)
		if err != nil {
			return err
		}
		deploy, err = tx.Deploy(s.Deploy)
		if err != nil || deploy.State != catalog.DeployRunning {
			return refusal.New(http.StatusConflict, "no_deploy", "", "no deploy of site %q is running", site)
		}
		return d.end(tx, s, deploy, Decision{
			State: catalog.DeployFailed, Error: "cancelled by " + by, Members: deploy.Members,
			Hint: "the release that ran before was not touched and keeps serving",
		}, now)
	})
	if err != nil {
		return catalog.Deploy{}, reply.RefusalOf(err)
	}
	d.wake()
	if ended := d.o.Catalog.View().Deploy(deploy.ID); ended != nil {
		deploy = *ended // Update has published what it wrote
	}
	return deploy, nil
}

// EndRetiring lets the former releases of a site go at once, with the sessions
// that are left there; release is a digest or empty for all of them.
func (d *Deployer) EndRetiring(ctx context.Context, site, release, by string) error {
	var ended []Drain
	for _, x := range d.Drains() { // before: the instances go with the release
		if x.Kind == DrainRelease && x.Site == site && (release == "" || x.Release == release) {
			ended = append(ended, x)
		}
	}
	_, err := d.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		_, n, err := command.DropRetired(tx, site, func(_ catalog.Site, r catalog.Retiring) bool {
			return release == "" || r.Release == release
		}, time.Now())
		if err == nil && release != "" && n == 0 {
			return fmt.Errorf("%w: release %s of site %q is not on its way out: there is nothing to end", catalog.ErrConflict, ids.ShortRelease(release), site)
		}
		return err
	})
	if err != nil {
		return reply.RefusalOf(err)
	}
	for _, x := range ended {
		text, outcome := "empty when "+by+" ended it", catalog.DrainOutcome{How: catalog.DrainEmpty}
		if x.Sessions+x.Lost > 0 {
			text = fmt.Sprintf("cut by %s, with %s left: they lose their instance", by, count(x.Sessions))
			outcome = catalog.DrainOutcome{How: CauseOperator, Lost: x.Sessions + x.Lost}
		}
		if x.Lost > 0 {
			text += "; before, " + lostText(x.DrainProgress)
		}
		d.tell("drain ended", &x, text, &outcome, time.Now(), nil)
	}
	d.logger.Info("retiring releases ended", "site", site, "release", release, "by", by)
	return nil
}

// Logs copies the log lines of a site's instances to w until they end, or with q.Follow until ctx or Close does.
func (d *Deployer) Logs(ctx context.Context, w io.Writer, q logs.Query) error {
	ctx, done := d.during(ctx)
	defer done()
	return d.logs.Copy(ctx, w, q)
}
