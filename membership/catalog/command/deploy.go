package command

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"portico/conf/sites"
	"portico/internal/units"
	"portico/membership/catalog"
)

// maxDeploys is how many deploys the catalog remembers.
const maxDeploys = 100

// DeployRequest is what BeginDeploy needs.
type DeployRequest struct {
	ID       string          // from NewID
	Release  catalog.Release // new, or as it is stored; its site is created if need be
	Rollback bool            // the release was current before
	Settings bool            // Release has the files that run, and Override differs
	NoPin    bool            // sessions of the release before are cut once this one is in rotation
	Members  []string        // application servers that take part, each waiting; nil: all that are accepted and that the site belongs on
	By       string
	Now      time.Time

	// Override is what operators want to have set from then on; nil: what they have set.
	Override json.RawMessage
}

// BeginDeploy makes a release the site's candidate. It fails with ErrConflict
// when another deploy of the site is running, or a host belongs to another site, and with
// ErrInvalid when the settings that result are wrong; all mistakes are joined.
func BeginDeploy(tx *catalog.Tx, r DeployRequest) (catalog.Deploy, error) {
	name := r.Release.Site
	site, err := tx.Site(name)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		site = catalog.Site{Name: name, Owner: r.By, Manifest: r.Release.Manifest, Created: r.Now.UTC()}
	case err != nil:
		return catalog.Deploy{}, err
	}
	if site.Candidate != "" {
		return catalog.Deploy{}, fmt.Errorf("%w: deploy %s of site %q is still running, wait for its end", catalog.ErrConflict, site.Deploy, name)
	}
	if site.Release == "" {
		site.Manifest = r.Release.Manifest // nothing runs yet, so these are the ones that count
	}
	if r.Override == nil {
		r.Override = site.Override
	}
	r.Release.Override = sites.StoredOverride(r.Override)
	settings, err := checkSettings(tx, name, r.Release.Manifest, r.Override, r.By)
	if err != nil {
		return catalog.Deploy{}, err
	}
	if err := nameRelease(tx, &r.Release, &site, r.Now); err != nil {
		return catalog.Deploy{}, err
	}
	site.Owner = cmp.Or(site.Owner, cmp.Or(tx.View().Owner(name), r.By))
	site.Candidate, site.Deploy, site.Updated = r.Release.Digest, r.ID, r.Now.UTC()
	d := catalog.Deploy{
		ID: r.ID, Site: name, Release: r.Release.Digest, Previous: site.Release, Rollback: r.Rollback, Settings: r.Settings, NoPin: r.NoPin,
		State: catalog.DeployRunning, Members: map[string]catalog.MemberProgress{}, By: r.By, Created: r.Now.UTC(),
	}
	for _, m := range r.participants(tx, settings) {
		d.Members[m] = catalog.MemberProgress{Step: catalog.StepWaiting, Updated: r.Now.UTC()}
	}
	return d, errors.Join(tx.PutRelease(r.Release), tx.PutSite(site), tx.PutDeploy(d))
}

func (r DeployRequest) participants(tx *catalog.Tx, s sites.Settings) []string {
	if r.Members != nil {
		return r.Members
	}
	var out []string
	for _, m := range tx.Members() {
		if m.Admission == catalog.Accepted && m.Role == catalog.RoleServer && m.Takes(s) {
			out = append(out, m.Name)
		}
	}
	return out
}

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
		return fmt.Errorf("%w: site %q does not run release %s", catalog.ErrConflict, r.Site, catalog.ShortRelease(r.Digest))
	}
	if _, err := checkSettings(tx, r.Site, r.Manifest, site.Override, by); err != nil {
		return err
	}
	site.Manifest, site.Updated = r.Manifest, now.UTC()
	return errors.Join(tx.PutRelease(r), tx.PutSite(site))
}

// runningDeploy returns a deploy that owns its site's candidate, and the site.
func runningDeploy(tx *catalog.Tx, id string) (catalog.Deploy, catalog.Site, error) {
	d, err := tx.Deploy(id)
	if err != nil {
		return catalog.Deploy{}, catalog.Site{}, err
	}
	if d.State != catalog.DeployRunning {
		return catalog.Deploy{}, catalog.Site{}, fmt.Errorf("%w: deploy %s has %s already", catalog.ErrConflict, id, d.State)
	}
	s, err := tx.Site(d.Site)
	if err != nil {
		return catalog.Deploy{}, catalog.Site{}, err
	}
	if s.Deploy != id {
		return catalog.Deploy{}, catalog.Site{}, fmt.Errorf("%w: deploy %s does not own site %q any more", catalog.ErrConflict, id, d.Site)
	}
	return d, s, nil
}

// PromoteDeploy ends a deploy well: the candidate becomes the site's release, the
// one before it retires, and what exceeds the number to keep is forgotten.
func PromoteDeploy(tx *catalog.Tx, id string, now time.Time) (catalog.Deploy, error) {
	d, site, err := runningDeploy(tx, id)
	if err != nil {
		return catalog.Deploy{}, err
	}
	release, err := tx.Release(d.Site, d.Release)
	if err != nil {
		return catalog.Deploy{}, err
	}
	if d.Settings {
		if site.Override, err = sites.MergeOverride(release.Override, json.RawMessage("{}")); err != nil {
			return catalog.Deploy{}, err
		}
	} else if release.Override != nil {
		if site.Override, err = sites.MergeShape(site.Override, release.Override); err != nil {
			return catalog.Deploy{}, err
		}
	}
	settings, err := sites.Join(release.Manifest, site.Override)
	if err != nil {
		return catalog.Deploy{}, err
	}
	settings = settings.WithDefaults(site.Name)
	if err := checkHosts(tx, Claim{Site: site.Name, Settings: settings, By: d.By}); err != nil {
		return catalog.Deploy{}, err
	}
	now = now.UTC()
	site.Retiring = slices.DeleteFunc(site.Retiring, func(r catalog.Retiring) bool { return r.Release == d.Release })
	if site.Release != "" && site.Release != d.Release {
		pin := settings.Deploy.Pin.Std()
		if d.NoPin {
			pin = 0
		}
		site.Retiring = append(site.Retiring, catalog.Retiring{Release: site.Release, Since: now, Deadline: now.Add(pin), Left: units.Duration(pin)})
	}
	site.Release, site.Candidate, site.Deploy = d.Release, "", ""
	site.Manifest, site.Updated = release.Manifest, now
	d.State, d.Ended = catalog.DeploySucceeded, now
	if err := errors.Join(tx.PutSite(site), tx.PutDeploy(d)); err != nil {
		return catalog.Deploy{}, err
	}
	trimReleases(tx, site, settings.Deploy.Keep)
	trimDeploys(tx)
	return d, nil
}

// FailDeploy ends a deploy badly: the candidate is given up, and the release that
// ran before was never touched.
func FailDeploy(tx *catalog.Tx, id, reason, hint string, now time.Time) (catalog.Deploy, error) {
	return endDeploy(tx, id, catalog.DeployFailed, reason, hint, now)
}

func endDeploy(tx *catalog.Tx, id string, state catalog.DeployState, reason, hint string, now time.Time) (catalog.Deploy, error) {
	d, site, err := runningDeploy(tx, id)
	if err != nil {
		return catalog.Deploy{}, err
	}
	site.Candidate, site.Deploy, site.Updated = "", "", now.UTC()
	d.State, d.Error, d.Hint, d.Ended = state, trim(reason, 4000), trim(hint, 1000), now.UTC()
	if err := errors.Join(tx.PutSite(site), tx.PutDeploy(d)); err != nil {
		return catalog.Deploy{}, err
	}
	trimDeploys(tx)
	return d, nil
}

// SetProgress notes how far the members of a running deploy are. Logs and bodies
// are cut so that the record keeps its size.
func SetProgress(tx *catalog.Tx, id string, members map[string]catalog.MemberProgress) (catalog.Deploy, error) {
	d, err := tx.Deploy(id)
	if err != nil {
		return catalog.Deploy{}, err
	}
	if d.State != catalog.DeployRunning {
		return catalog.Deploy{}, fmt.Errorf("%w: deploy %s has %s already", catalog.ErrConflict, id, d.State)
	}
	// Characters that JSON escapes take up to six times their size, so the room is
	// found by trying.
	for room := catalog.MaxRecord / 2 / max(len(members), 1); ; room /= 3 {
		d.Members = map[string]catalog.MemberProgress{}
		for name, p := range members {
			d.Members[name] = bounded(p, room)
		}
		if data, err := json.Marshal(d); err != nil || len(data) <= catalog.MaxRecord || room == 0 {
			return d, tx.PutDeploy(d)
		}
	}
}

// bounded cuts the texts of a progress to about room bytes.
func bounded(p catalog.MemberProgress, room int) catalog.MemberProgress {
	p.Detail = trim(p.Detail, min(1000, room/4))
	if p.Probe != nil {
		probe := *p.Probe
		probe.Body, probe.Error = trim(probe.Body, min(256, room/8)), trim(probe.Error, min(500, room/8))
		p.Probe = &probe
	}
	var log []string
	left := min(8000, room/2)
	for _, line := range slices.Backward(p.Log) {
		line = trim(line, min(500, left))
		if left -= len(line) + 8; left <= 0 || len(log) >= 50 {
			break
		}
		log = append(log, line)
	}
	slices.Reverse(log)
	p.Log = log
	return p
}

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
		if catalog.ShortRelease(id) == prefix {
			exact = append(exact, r)
		}
	}
	if len(exact) == 1 {
		return *exact[0], nil
	}
	found := map[string]*catalog.Release{} // by files
	for id, r := range v.Releases[site] {
		if files := catalog.FilesOf(id); catalog.NamesRelease(prefix, id) && (found[files] == nil || r.Created.After(found[files].Created)) {
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
		return catalog.Deploy{}, fmt.Errorf("%w: site %q runs release %s already", catalog.ErrConflict, site.Name, catalog.ShortRelease(target.Digest))
	}
	if r.Release, err = tx.Release(target.Site, target.Digest); err != nil {
		return catalog.Deploy{}, err
	}
	if r.Rollback = true; r.Release.Override != nil && catalog.FilesOf(site.Release) == catalog.FilesOf(target.Digest) {
		// What differs is what operators had set, so that is what comes back.
		if r.Override, err = sites.MergeShape(site.Override, r.Release.Override); err != nil {
			return catalog.Deploy{}, err
		}
		r.Override = sites.StoredOverride(r.Override)
	}
	return BeginDeploy(tx, r)
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

// trimReleases forgets former releases past keep, oldest first. Those that run or
// are being installed stay. Of files that do not run any more the latest release alone counts and stays.
func trimReleases(tx *catalog.Tx, site catalog.Site, keep int) {
	used := map[string]bool{site.Release: true, site.Candidate: true}
	for _, r := range site.Retiring {
		used[r.Release] = true
	}
	kept, same := map[string]bool{}, 0
	for _, r := range tx.Releases(site.Name) {
		files := catalog.FilesOf(r.Digest)
		switch {
		case used[r.Digest]:
		case files == catalog.FilesOf(site.Release):
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

// trimDeploys forgets the oldest deploys that have ended.
func trimDeploys(tx *catalog.Tx) {
	if len(tx.View().Deploys) < maxDeploys {
		return
	}
	for i, d := range tx.Deploys() {
		if i >= maxDeploys && d.State != catalog.DeployRunning {
			tx.DeleteDeploy(d.ID)
		}
	}
}
