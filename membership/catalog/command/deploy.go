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
	ID       string          // from [ids.New]
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
