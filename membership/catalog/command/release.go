package command

import (
	"slices"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

// DropRetired ends the retirement of the releases of a site that drop names, and
// forgets former releases that are more than the site keeps. It returns the site
// as it is then and how many retirements ended.
func DropRetired(tx *catalog.Tx, name string, drop func(catalog.Site, catalog.Retiring) bool, now time.Time) (catalog.Site, int, error) {
	site, err := tx.Site(name)
	if err != nil {
		return catalog.Site{}, 0, err
	}
	before := site
	site.Retiring = slices.DeleteFunc(slices.Clone(site.Retiring), func(r catalog.Retiring) bool { return drop(before, r) })
	ended := len(before.Retiring) - len(site.Retiring)
	if ended == 0 {
		return site, 0, nil
	}
	site.Updated = now.UTC()
	if err := tx.PutSite(site); err != nil {
		return catalog.Site{}, 0, err
	}
	if settings, err := site.Effective(); err == nil {
		trimReleases(tx, site, settings.Deploy.Keep)
	}
	return site, ended, nil
}

// RemoveSite takes a site and its releases away; a running deploy of it fails.
// Application servers stop its instances when they see that it is gone.
func RemoveSite(tx *catalog.Tx, name string, now time.Time) error {
	site, err := tx.Site(name)
	if err != nil {
		return err
	}
	if d, err := tx.Deploy(site.Deploy); err == nil && d.State == catalog.DeployRunning {
		d.State, d.Error, d.Ended = catalog.DeployFailed, "the site was removed", now.UTC()
		if err := tx.PutDeploy(d); err != nil {
			return err
		}
	}
	for _, r := range tx.Releases(name) {
		tx.DeleteRelease(name, r.Digest)
	}
	tx.DeleteSite(name)
	// Whoever takes the name next has no operator's word.
	return dropGrants(tx, func(_ string, g catalog.HostGrant) bool { return g.Site == name })
}

// trimReleases forgets former releases past keep, oldest first. Those that run or
// are being installed stay. Of files that do not run any more the latest release alone counts and stays.
func trimReleases(tx *catalog.Tx, site catalog.Site, keep int) {
	used := map[string]bool{site.Release: true, site.Candidate: true}
	for _, r := range site.Retiring {
		used[r.Release] = true
	}
	kept, same := map[string]bool{}, 0
	for _, r := range tx.Releases(site.Name) {
		files := ids.FilesOf(r.Digest)
		switch {
		case used[r.Digest]:
		case files == ids.FilesOf(site.Release):
			if same++; same > keep {
				tx.DeleteRelease(site.Name, r.Digest)
			}
		case kept[files] || len(kept) >= keep:
			tx.DeleteRelease(site.Name, r.Digest)
		default:
			kept[files] = true
		}
	}
}
