package deployhook

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"portico/conf/sites"
	"portico/deployhook/objects"
	"portico/deployhook/reply"
	"portico/deployhook/upload"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/membership/catalog/ids"
)

// ArchiveAnswer is the answer to an upload: 202 with a deploy that runs, 200
// with one that has ended well (wait, or nothing to do) or with the forecast of
// a dry run, 422 with one that has failed while the client waited.
type ArchiveAnswer struct {
	catalog.Deploy                // of a dry run: site and release only
	Files          int            `json:"files"`
	Size           int64          `json:"size"`
	Changed        int            `json:"changed"`           // files that the current release does not have
	Ships          int64          `json:"ships"`             // bytes of these
	Notes          []string       `json:"notes,omitempty"`   // what was done to the archive
	Settings       sites.Settings `json:"settings"`          // joined and with defaults
	DryRun         bool           `json:"dry_run,omitempty"` // nothing was changed
	Keeps          int            `json:"keeps,omitempty"`   // sessions that stay on the current release until they end
	Cuts           int            `json:"cuts,omitempty"`    // with no_pin: sessions that lose their instance instead
	Same           bool           `json:"same,omitempty"`    // this release runs already
}

// Archive takes PUT /v1/sites/{site}/archive from a caller whom Options.Actor
// names. Query: host (may be repeated), path, kind, name, wait (a duration, or
// 1 for as long as it takes), no_pin, dry_run.
func (d *Deployer) Archive() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The body's own pace bounds the upload, see pace; unpacking and a
		// wait have their bounds too.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		status, answer, err := d.serveArchive(w, r)
		reply.Within(w, reply.Time)
		if err != nil {
			if reply.RefusalOf(err).Status >= 500 {
				d.logger.Error("upload not taken", "site", r.PathValue("site"), "error", err)
			}
			reply.Error(w, err)
			return
		}
		if answer.ID != "" {
			w.Header().Set("Location", "/v1/deploys/"+answer.ID)
		}
		reply.JSON(w, status, answer)
	})
}

func (d *Deployer) serveArchive(w http.ResponseWriter, r *http.Request) (int, *ArchiveAnswer, error) {
	by := ""
	if d.o.Actor != nil {
		by = d.o.Actor(r.Context())
	}
	q, err := upload.Parse(r, by)
	if err != nil {
		return 0, nil, err
	}
	// Before the body, so that nobody uploads a gigabyte to be told no.
	if err := d.free(r.Context(), q); err != nil {
		return 0, nil, err
	}
	select {
	case d.uploads <- struct{}{}:
		defer func() { <-d.uploads }()
	default:
		return 0, nil, refusal.New(http.StatusServiceUnavailable, "busy", "try again in a moment", "%d uploads are under way already", maxUploads)
	}
	s, err := upload.Receive(w, r, d.spool, d.o.Upload.Archive.Bytes())
	if err != nil {
		return 0, nil, err
	}
	defer s.Discard()
	ctx, done := d.during(r.Context())
	defer done()
	answer, err := d.install(ctx, s, q)
	if err != nil {
		return 0, nil, err
	}
	return d.await(ctx, answer, q)
}

// await waits for the end of the deploy if the caller wants that.
func (d *Deployer) await(ctx context.Context, answer *ArchiveAnswer, q *upload.Request) (int, *ArchiveAnswer, error) {
	if answer.DryRun || answer.Same {
		return http.StatusOK, answer, nil
	}
	if q.Wait == 0 {
		return http.StatusAccepted, answer, nil
	}
	ctx, cancel := context.WithTimeout(ctx, q.Wait)
	defer cancel()
	deploy, err := d.Wait(ctx, answer.ID)
	if deploy.ID == "" {
		return 0, nil, err
	}
	answer.Deploy = deploy
	switch deploy.State {
	case catalog.DeployRunning:
		return http.StatusAccepted, answer, nil
	case catalog.DeploySucceeded:
		return http.StatusOK, answer, nil
	}
	return 0, nil, refusal.New(http.StatusUnprocessableEntity, "deploy_failed", deploy.Hint, "%s", cmp.Or(deploy.Error, "the deploy was "+string(deploy.State)))
}

// free refuses while another deploy of the site runs.
func (d *Deployer) free(ctx context.Context, q *upload.Request) error {
	busy := func(v *catalog.View) error {
		if site := v.Sites[q.Site]; site != nil && !q.DryRun {
			if running := v.Deploy(site.Deploy); running != nil && running.State == catalog.DeployRunning {
				return busyError(q.Site, running)
			}
		}
		return nil
	}
	if busy(d.o.Catalog.View()) == nil {
		return nil
	}
	return busy(d.o.Catalog.Current(ctx)) // it may have ended, at another proxy
}

// install turns a spooled upload into a release and begins its deploy. Objects
// are durable before the catalog names them.
func (d *Deployer) install(ctx context.Context, s *upload.Spooled, q *upload.Request) (*ArchiveAnswer, error) {
	select {
	case d.unpacks <- struct{}{}:
		defer func() { <-d.unpacks }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	u, err := upload.Unpack(ctx, s, d.o.Objects, d.limits(), q)
	if err != nil {
		return nil, err
	}
	defer u.Batch.Close()
	settings, err := u.Settle(d.o.Catalog.View(), q)
	if err != nil {
		return nil, err
	}
	tree, err := u.Tree(d.limits())
	if err != nil {
		return nil, refusal.New(http.StatusUnprocessableEntity, "archive_refused", "", "%v", err)
	}
	answer := &ArchiveAnswer{
		Deploy: catalog.Deploy{Site: q.Site, Release: tree.Digest(), By: q.By},
		Files:  len(tree.Files), Size: tree.Size(), Notes: u.Notes, Settings: settings.HideEnv(), DryRun: q.DryRun,
	}
	d.compare(answer, tree, q.Site)
	if q.NoPin {
		answer.Keeps, answer.Cuts = 0, answer.Keeps
	} else {
		answer.Notes = append(answer.Notes, d.tightMemory(settings, answer.Keeps)...)
	}
	if q.DryRun {
		return answer, nil
	}
	if err := u.Batch.Commit(); err != nil {
		return nil, err
	}
	if _, err := d.o.Objects.PutTree(tree); err != nil {
		return nil, err
	}
	return answer, d.commit(ctx, answer, u, q)
}

// compare says what the deploy would ship and whom it would move.
func (d *Deployer) compare(answer *ArchiveAnswer, tree objects.Tree, name string) {
	have := map[string]bool{}
	v := d.o.Catalog.View()
	if site := v.Sites[name]; site != nil && site.Release != "" {
		if old, err := d.o.Objects.Tree(ids.FilesOf(site.Release), objects.TreeLimits()); err == nil {
			for _, f := range old.Files {
				have[f.Digest] = true
			}
		}
		for id, instance := range v.Instances {
			if instance.Site == name && instance.Release == site.Release {
				sessions, _, _ := d.load(id)
				answer.Keeps += sessions
			}
		}
	}
	for _, f := range tree.Files {
		if !have[f.Digest] {
			have[f.Digest] = true
			answer.Changed++
			answer.Ships += f.Size
		}
	}
}

// commit writes release, deploy and candidate in one change.
func (d *Deployer) commit(ctx context.Context, answer *ArchiveAnswer, u *upload.Unpacked, q *upload.Request) error {
	now := time.Now()
	release := catalog.Release{
		Site: q.Site, Digest: answer.Release, Archive: cmp.Or(q.Name, q.Site), Size: answer.Size, Files: answer.Files,
		Manifest: u.Manifest, Created: now.UTC(), By: q.By, Proxy: d.o.Name,
	}
	var deploy catalog.Deploy
	_, err := d.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		if err := notBusy(tx, q.Site); err != nil {
			return err
		}
		answer.Same = false
		release.Created = now.UTC()
		known, err := tx.Release(q.Site, release.Digest)
		if err == nil {
			release.Created = known.Created
		}
		site, err := tx.Site(q.Site)
		if err == nil && ids.FilesOf(site.Release) == release.Digest {
			runs, err := tx.Release(q.Site, site.Release)
			if err == nil && sameProcess(&site, &runs, &release) {
				answer.Same = true
				runs.Manifest, runs.Archive, runs.By, runs.Proxy = release.Manifest, release.Archive, release.By, release.Proxy
				deploy, err = again(tx, site, runs, sameJSON(known.Manifest, u.Manifest), q.By, now)
				return err
			}
		}
		deploy, err = command.BeginDeploy(tx, command.DeployRequest{ID: ids.New(now), Release: release, NoPin: q.NoPin, By: q.By, Now: now})
		return err
	})
	if err != nil {
		return err
	}
	answer.Deploy = deploy
	d.begun(deploy)
	if !answer.Same {
		d.history.Note(deploy.ID, fmt.Sprintf("%d files, %d bytes; %d files with %d bytes are new", answer.Files, answer.Size, answer.Changed, answer.Ships), now)
	}
	return nil
}

// sameProcess reports whether the processes that a site runs can stay as they are, where their
// release comes once more.
func sameProcess(site *catalog.Site, runs, comes *catalog.Release) bool {
	now, errNow := site.JoinedFor(runs)
	then, errThen := sites.Join(comes.Manifest, site.Override)
	return errNow == nil && errThen == nil && now.SameShape(then)
}

// again records a deploy of the very release that runs: nothing to install, at
// most settings that came by flags.
func again(tx *catalog.Tx, site catalog.Site, release catalog.Release, sameSettings bool, by string, now time.Time) (catalog.Deploy, error) {
	deploy := catalog.Deploy{
		ID: ids.New(now), Site: site.Name, Release: release.Digest, Previous: release.Digest,
		State: catalog.DeploySucceeded, By: by, Created: now.UTC(), Ended: now.UTC(),
		Hint: "this release runs already: nothing was changed",
	}
	if !sameSettings {
		deploy.Hint = "the files are those that run already: only the settings were changed"
		if err := command.ReplaceManifest(tx, release, by, now); err != nil {
			return deploy, err
		}
	}
	return deploy, tx.PutDeploy(deploy)
}
