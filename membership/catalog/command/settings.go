package command

import (
	"errors"
	"fmt"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

// checkSettings checks what a manifest and an override make of a site, and returns it. by
// is the account that asks for it.
func checkSettings(tx *catalog.Tx, site string, manifest sites.Settings, override []byte, by string) (sites.Settings, error) {
	s, err := sites.Join(manifest, override)
	if err != nil {
		return s, err
	}
	if errs := s.Validate(); len(errs) > 0 {
		return s, fmt.Errorf("%w: %w", catalog.ErrInvalid, errs)
	}
	if err := checkHosts(tx, Claim{Site: site, Settings: s.WithDefaults(site), By: by}); err != nil {
		return s, err
	}
	return s, tx.View().Homeless(site, s)
}

// checkHosts is CheckHosts within a change: nobody's hosts may change meanwhile.
func checkHosts(tx *catalog.Tx, c Claim) error {
	if _, err := tx.Account(c.By); err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return err
	}
	return CheckHosts(tx.Hosts(), c)
}

// ReplaceManifest gives the release that a site runs other settings, with the same checks
// as a deploy of it.
func ReplaceManifest(tx *catalog.Tx, r catalog.Release, by string, now time.Time) error {
	site, err := tx.Site(r.Site)
	if err != nil {
		return err
	}
	if site.Release != r.Digest {
		return fmt.Errorf("%w: site %q does not run release %s", catalog.ErrConflict, r.Site, ids.ShortRelease(r.Digest))
	}
	if _, err := checkSettings(tx, r.Site, r.Manifest, site.Override, by); err != nil {
		return err
	}
	site.Manifest, site.Updated = r.Manifest, now.UTC()
	return errors.Join(tx.PutRelease(r), tx.PutSite(site))
}

// SetOverride merges a change into what operators have set for a site, see
// MergeOverride, and refuses it whole if what results is wrong. A change of what an instance
// gets at its start and keeps is a deploy of the files that run, with r.ID, and counts once that has
// succeeded; begun says that it is one. r.By is the account that asks: an operator needs
// ShareHost as well before a site gets another account's host.
func SetOverride(tx *catalog.Tx, patch []byte, r DeployRequest) (d catalog.Deploy, begun bool, err error) {
	site, err := tx.Site(r.Release.Site)
	if err != nil {
		return d, false, err
	}
	running, err := tx.Deploy(site.Deploy)
	if err == nil && running.State == catalog.DeployRunning && running.Settings {
		return d, false, fmt.Errorf("%w: deploy %s is still giving site %q other settings, wait for its end", catalog.ErrConflict, running.ID, site.Name)
	}
	if r.Override, err = sites.MergeOverride(site.Override, patch); err != nil {
		return d, false, err
	}
	settings, err := checkSettings(tx, site.Name, site.Manifest, r.Override, r.By)
	if err != nil {
		return d, false, err
	}
	if site.Release != "" {
		if r.Release, err = tx.Release(site.Name, site.Release); err != nil {
			return d, false, err
		}
		now, err := site.JoinedFor(&r.Release)
		if err != nil || !now.SameShape(settings) {
			r.Settings, r.Override = true, sites.StoredOverride(r.Override)
			d, err = BeginDeploy(tx, r)
			return d, err == nil, err
		}
	} else if site.Candidate != "" {
		first, err := tx.Release(site.Name, site.Candidate)
		if now, errNow := site.JoinedFor(&first); err == nil && (errNow != nil || !now.SameShape(settings)) {
			return d, false, fmt.Errorf("%w: deploy %s of site %q is still running, wait for its end", catalog.ErrConflict, site.Deploy, site.Name)
		}
	}
	site.Override, site.Updated = r.Override, r.Now.UTC()
	return d, false, tx.PutSite(site)
}
