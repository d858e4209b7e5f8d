package command

import (
	"fmt"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

// RollbackTarget returns the release that a rollback of the site goes to: the one
// whose digest begins with prefix, or with no prefix the one that was current before the
// present one.
func RollbackTarget(v *catalog.View, site, prefix string) (catalog.Release, error) {
	s := v.Sites[site]
	if s == nil {
		return catalog.Release{}, fmt.Errorf("site %q: %w", site, catalog.ErrNotFound)
	}
	if prefix != "" {
		return ReleaseByPrefix(v, site, prefix)
	}
	for _, d := range v.Deploys {
		if d.Site == site && d.State == catalog.DeploySucceeded && d.Release == s.Release && d.Previous != "" && d.Previous != s.Release {
			if r := v.Releases[site][d.Previous]; r != nil {
				return *r, nil
			}
		}
	}
	return catalog.Release{}, fmt.Errorf("%w: site %q has no former release to go back to", catalog.ErrNotFound, site)
}

// ReleaseByPrefix returns the release of a site that prefix names, see NamesRelease. Of those
// with the same files it is the latest, unless prefix has a number or is the whole name, as in the catalog or as people see it.
func ReleaseByPrefix(v *catalog.View, site, prefix string) (catalog.Release, error) {
	if r := v.Releases[site][prefix]; r != nil {
		return *r, nil
	}
	var exact []*catalog.Release
	for id, r := range v.Releases[site] {
		if ids.ShortRelease(id) == prefix {
			exact = append(exact, r)
		}
	}
	if len(exact) == 1 {
		return *exact[0], nil
	}
	found := map[string]*catalog.Release{} // by files
	for id, r := range v.Releases[site] {
		if files := ids.FilesOf(id); ids.NamesRelease(prefix, id) && (found[files] == nil || r.Created.After(found[files].Created)) {
			found[files] = r
		}
	}
	switch len(found) {
	case 0:
		return catalog.Release{}, fmt.Errorf("release %.70q of site %q: %w", prefix, site, catalog.ErrNotFound)
	case 1:
		for _, r := range found {
			return *r, nil
		}
	}
	return catalog.Release{}, fmt.Errorf("%w: %d releases of site %q begin with %q, write more of the digest", catalog.ErrConflict, len(found), site, prefix)
}

// Rollback begins a deploy of a release that the site had before. Release.Digest
// of the request may be a prefix or empty, see RollbackTarget.
func Rollback(tx *catalog.Tx, r DeployRequest) (catalog.Deploy, error) {
	target, err := RollbackTarget(tx.View(), r.Release.Site, r.Release.Digest)
	if err != nil {
		return catalog.Deploy{}, err
	}
	site, err := tx.Site(target.Site)
	if err != nil {
		return catalog.Deploy{}, err
	}
	if site.Release == target.Digest {
		return catalog.Deploy{}, fmt.Errorf("%w: site %q runs release %s already", catalog.ErrConflict, site.Name, ids.ShortRelease(target.Digest))
	}
	if r.Release, err = tx.Release(target.Site, target.Digest); err != nil {
		return catalog.Deploy{}, err
	}
	if r.Rollback = true; r.Release.Override != nil && ids.FilesOf(site.Release) == ids.FilesOf(target.Digest) {
		// What differs is what operators had set, so that is what comes back.
		if r.Override, err = sites.MergeShape(site.Override, r.Release.Override); err != nil {
			return catalog.Deploy{}, err
		}
		r.Override = sites.StoredOverride(r.Override)
	}
	return BeginDeploy(tx, r)
}
