package deployhook

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"portico/membership/catalog"
)

// minPrefix is the shortest piece of a digest that names a release.
const minPrefix = 6

// Rollback deploys a former release again. release is a digest, at least six
// characters of one, or empty for the release before the current one.
func (d *Deployer) Rollback(ctx context.Context, site, release, by string) (catalog.Deploy, error) {
	var deploy catalog.Deploy
	now := time.Now()
	_, err := d.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		s, err := tx.Site(site)
		if err != nil {
			return err
		}
		target, err := findRelease(s, tx.Releases(site), release)
		if err != nil {
			return err
		}
		settings, err := s.EffectiveFor(&target)
		if err != nil {
			return err
		}
		if err := catalog.CheckHosts(tx.View(), site, settings); err != nil {
			return err
		}
		deploy, err = begin(tx, s, target, true, by, now)
		return err
	})
	if err != nil {
		return catalog.Deploy{}, AsError(err)
	}
	d.begun(deploy)
	return deploy, nil
}

// begun tells everybody who waits that there is a deploy.
func (d *Deployer) begun(deploy catalog.Deploy) {
	d.history.observe(&deploy, deploy.Created)
	d.logger.Info("deploy begins", "site", deploy.Site, "deploy", deploy.ID, "release", deploy.Release, "by", deploy.By, "rollback", deploy.Rollback)
	d.wake()
}

// findRelease resolves what a user wrote.
func findRelease(site catalog.Site, releases []catalog.Release, text string) (catalog.Release, error) {
	slices.SortFunc(releases, func(a, b catalog.Release) int { return b.Created.Compare(a.Created) })
	var found []catalog.Release
	for _, r := range releases {
		switch {
		case r.Digest == site.Candidate:
		case text == "" && r.Digest != site.Release:
			found = append(found, r)
		case text != "" && strings.HasPrefix(r.Digest, text):
			found = append(found, r)
		}
	}
	hint := "portico releases " + site.Name + " lists what there is"
	switch {
	case text != "" && len(text) < minPrefix:
		return catalog.Release{}, refusal(http.StatusBadRequest, "invalid", hint, "%q is too short to name a release: at least %d characters of its digest are wanted", text, minPrefix)
	case len(found) == 0 && text == "":
		return catalog.Release{}, refusal(http.StatusConflict, "no_release", hint, "site %q has no former release", site.Name)
	case len(found) == 0:
		return catalog.Release{}, refusal(http.StatusNotFound, "not_found", hint, "site %q has no release %q", site.Name, text)
	case text == "":
		return previous(site, found), nil
	case len(found) > 1:
		return catalog.Release{}, refusal(http.StatusConflict, "ambiguous", hint, "%q names %d releases of site %q", text, len(found), site.Name)
	case found[0].Digest == site.Release:
		return catalog.Release{}, refusal(http.StatusConflict, "current", "", "release %.12s of site %q is the current one already", found[0].Digest, site.Name)
	}
	return found[0], nil
}

// previous picks the release that ran before: the one that retires since the
// last deploy, else the youngest upload.
func previous(site catalog.Site, former []catalog.Release) catalog.Release {
	for i := len(site.Retiring) - 1; i >= 0; i-- {
		for _, r := range former {
			if r.Digest == site.Retiring[i].Release {
				return r
			}
		}
	}
	return former[0]
}

// Remove takes a site away, with its releases; a running deploy of it ends. The
// agents stop its instances when nothing is under way there any more. Data
// folders stay on the application servers.
func (d *Deployer) Remove(ctx context.Context, site, by string) error {
	now := time.Now()
	_, err := d.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		s, err := tx.Site(site)
		if err != nil {
			return err
		}
		if running, err := tx.Deploy(s.Deploy); err == nil && running.State == catalog.DeployRunning {
			running.State, running.Ended, running.Error = catalog.DeploySuperseded, now, "the site was removed by "+by
			if err := tx.PutDeploy(running); err != nil {
				return err
			}
		}
		for _, r := range tx.Releases(site) {
			tx.DeleteRelease(site, r.Digest)
		}
		tx.DeleteSite(site)
		return nil
	})
	if err != nil {
		return AsError(err)
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
			return refusal(http.StatusConflict, "no_deploy", "", "no deploy of site %q is running", site)
		}
		return d.end(tx, s, deploy, Decision{
			State: catalog.DeployFailed, Error: "cancelled by " + by, Members: deploy.Members,
			Hint: "the release that ran before was not touched and keeps serving",
		}, now)
	})
	if err != nil {
		return catalog.Deploy{}, AsError(err)
	}
	d.wake()
	return deploy, nil
}

// EndRetiring lets the former releases of a site go at once, with the sessions
// that are left there; release is a digest or empty for all of them.
func (d *Deployer) EndRetiring(ctx context.Context, site, release, by string) error {
	_, err := d.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		s, err := tx.Site(site)
		if err != nil {
			return err
		}
		s.Retiring = slices.DeleteFunc(slices.Clone(s.Retiring), func(r catalog.Retiring) bool {
			return release == "" || r.Release == release
		})
		return tx.PutSite(s)
	})
	if err != nil {
		return AsError(err)
	}
	d.logger.Info("retiring releases ended", "site", site, "release", release, "by", by)
	return nil
}
