package deployhook

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/conf/sites"
	"portico/deployhook/objects"
	"portico/deployhook/reply"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

// maxWaitDeploy bounds wait=true and wait=DURATION.
const maxWaitDeploy = 30 * time.Minute

// request is what the caller asks for beside the body.
type request struct {
	site   string
	by     string
	name   string // of the archive, for people
	hosts  []string
	path   string
	kind   sites.Kind
	dryRun bool
	noPin  bool // sessions of the release before do not stay
	wait   time.Duration
}

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
	q, err := d.parse(r)
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
		return 0, nil, reply.Refuse(http.StatusServiceUnavailable, "busy", "try again in a moment", "%d uploads are under way already", maxUploads)
	}
	s, err := d.receive(w, r)
	if err != nil {
		return 0, nil, err
	}
	defer s.discard()
	ctx, done := d.during(r.Context())
	defer done()
	answer, err := d.install(ctx, s, q)
	if err != nil {
		return 0, nil, err
	}
	return d.await(ctx, answer, q)
}

// await waits for the end of the deploy if the caller wants that.
func (d *Deployer) await(ctx context.Context, answer *ArchiveAnswer, q *request) (int, *ArchiveAnswer, error) {
	if answer.DryRun || answer.Same {
		return http.StatusOK, answer, nil
	}
	if q.wait == 0 {
		return http.StatusAccepted, answer, nil
	}
	ctx, cancel := context.WithTimeout(ctx, q.wait)
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
	return 0, nil, reply.Refuse(http.StatusUnprocessableEntity, "deploy_failed", deploy.Hint, "%s", cmp.Or(deploy.Error, "the deploy was "+string(deploy.State)))
}

// parse checks everything but the body.
func (d *Deployer) parse(r *http.Request) (*request, error) {
	q := &request{site: r.PathValue("site")}
	if d.o.Actor != nil {
		q.by = d.o.Actor(r.Context())
	}
	if q.by == "" {
		return nil, reply.Refuse(http.StatusUnauthorized, "unauthorized", "", "an upload needs an account")
	}
	if err := sites.ValidName("site", q.site); err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, reply.Refuse(http.StatusBadRequest, "invalid", "", "the query cannot be read: %v", err)
	}
	for key, list := range values {
		if err := q.set(key, list); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func (q *request) set(key string, values []string) error {
	value := values[len(values)-1]
	switch key {
	case "host":
		for _, v := range values {
			for host := range strings.SplitSeq(v, ",") {
				if host = strings.ToLower(strings.TrimSpace(host)); host != "" && !slices.Contains(q.hosts, host) {
					q.hosts = append(q.hosts, host)
				}
			}
		}
	case "path":
		q.path = value
	case "kind":
		q.kind = sites.Kind(value)
	case "name":
		q.name = cut(path.Base(strings.ReplaceAll(strings.ToValidUTF8(value, ""), `\`, "/")), 200)
	case "dry_run", "dry-run":
		on, err := strconv.ParseBool(cmp.Or(value, "1"))
		if err != nil {
			return reply.Refuse(http.StatusBadRequest, "invalid", "", "%s=%q is not yes or no", key, value)
		}
		q.dryRun = on
	case "no_pin":
		on, err := strconv.ParseBool(cmp.Or(value, "1"))
		if err != nil {
			return reply.Refuse(http.StatusBadRequest, "invalid", "", "%s=%q is not yes or no", key, value)
		}
		q.noPin = on
	case "wait":
		return q.setWait(value)
	default:
		return reply.Refuse(http.StatusBadRequest, "invalid", "", "the query has %q; known are host, path, kind, name, wait, no_pin and dry_run", key)
	}
	return nil
}

func (q *request) setWait(value string) error {
	if on, err := strconv.ParseBool(cmp.Or(value, "1")); err == nil {
		if on {
			q.wait = maxWaitDeploy
		}
		return nil
	}
	wait, err := time.ParseDuration(value)
	if err != nil || wait < 0 {
		return reply.Refuse(http.StatusBadRequest, "invalid", "", "wait=%q is not a duration such as 60s", value)
	}
	q.wait = min(wait, maxWaitDeploy)
	return nil
}

// free refuses while another deploy of the site runs.
func (d *Deployer) free(ctx context.Context, q *request) error {
	busy := func(v *catalog.View) error {
		if site := v.Sites[q.site]; site != nil && !q.dryRun {
			if running := v.Deploy(site.Deploy); running != nil && running.State == catalog.DeployRunning {
				return busyError(q.site, running)
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
func (d *Deployer) install(ctx context.Context, s *spooled, q *request) (*ArchiveAnswer, error) {
	select {
	case d.unpacks <- struct{}{}:
		defer func() { <-d.unpacks }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	u, err := d.unpack(ctx, s, q)
	if err != nil {
		return nil, err
	}
	defer u.batch.Close()
	settings, err := d.settle(u, q)
	if err != nil {
		return nil, err
	}
	tree, err := u.tree(d.limits())
	if err != nil {
		return nil, reply.Refuse(http.StatusUnprocessableEntity, "archive_refused", "", "%v", err)
	}
	answer := &ArchiveAnswer{
		Deploy: catalog.Deploy{Site: q.site, Release: tree.Digest(), By: q.by},
		Files:  len(tree.Files), Size: tree.Size(), Notes: u.notes, Settings: settings.HideEnv(), DryRun: q.dryRun,
	}
	d.compare(answer, tree, q.site)
	if q.noPin {
		answer.Keeps, answer.Cuts = 0, answer.Keeps
	} else {
		answer.Notes = append(answer.Notes, d.tightMemory(settings, answer.Keeps)...)
	}
	if q.dryRun {
		return answer, nil
	}
	if err := u.batch.Commit(); err != nil {
		return nil, err
	}
	if _, err := d.o.Objects.PutTree(tree); err != nil {
		return nil, err
	}
	return answer, d.commit(ctx, answer, u, q)
}

// settle joins the manifest with the flags and what the site keeps, and checks
// the outcome; every mistake is told at once. u.manifest becomes the release's.
func (d *Deployer) settle(u *unpacked, q *request) (sites.Settings, error) {
	v := d.o.Catalog.View()
	site := v.Sites[q.site]
	m := &u.manifest
	if len(q.hosts) > 0 {
		m.Hosts = q.hosts
	}
	m.Path = cmp.Or(q.path, m.Path)
	m.Kind = cmp.Or(q.kind, m.Kind)
	// A site keeps the place that it was given by a flag once, so that the
	// next deploy without that flag does not move it.
	if site != nil && len(m.Hosts) == 0 {
		m.Hosts = slices.Clone(site.Manifest.Hosts)
	}
	if site != nil {
		m.Path = cmp.Or(m.Path, site.Manifest.Path)
	}
	u.detect(m)
	joined := *m
	if site != nil {
		var err error
		if joined, err = sites.Join(*m, site.Override); err != nil {
			return joined, err
		}
	}
	found := joined.Validate()
	if unread := u.drop(joined); !slices.ContainsFunc(found, about("exclude")) {
		found = append(found, unread...)
	}
	found = append(found, u.fit(joined)...)
	if len(found) > 0 {
		var override json.RawMessage
		if site != nil {
			override = site.Override
		}
		return joined, u.sourced(found, q, override)
	}
	full := joined.WithDefaults(q.site)
	return full, command.CheckHosts(v, command.Claim{Site: q.site, Settings: full, By: q.by})
}

// compare says what the deploy would ship and whom it would move.
func (d *Deployer) compare(answer *ArchiveAnswer, tree objects.Tree, name string) {
	have := map[string]bool{}
	v := d.o.Catalog.View()
	if site := v.Sites[name]; site != nil && site.Release != "" {
		if old, err := d.o.Objects.Tree(catalog.FilesOf(site.Release), objects.TreeLimits()); err == nil {
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
func (d *Deployer) commit(ctx context.Context, answer *ArchiveAnswer, u *unpacked, q *request) error {
	now := time.Now()
	release := catalog.Release{
		Site: q.site, Digest: answer.Release, Archive: cmp.Or(q.name, q.site), Size: answer.Size, Files: answer.Files,
		Manifest: u.manifest, Created: now.UTC(), By: q.by, Proxy: d.o.Name,
	}
	var deploy catalog.Deploy
	_, err := d.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		if err := notBusy(tx, q.site); err != nil {
			return err
		}
		answer.Same = false
		release.Created = now.UTC()
		known, err := tx.Release(q.site, release.Digest)
		if err == nil {
			release.Created = known.Created
		}
		site, err := tx.Site(q.site)
		if err == nil && catalog.FilesOf(site.Release) == release.Digest {
			runs, err := tx.Release(q.site, site.Release)
			if err == nil && sameProcess(&site, &runs, &release) {
				answer.Same = true
				runs.Manifest, runs.Archive, runs.By, runs.Proxy = release.Manifest, release.Archive, release.By, release.Proxy
				deploy, err = again(tx, site, runs, sameJSON(known.Manifest, u.manifest), q.by, now)
				return err
			}
		}
		deploy, err = command.BeginDeploy(tx, command.DeployRequest{ID: catalog.NewID(now), Release: release, NoPin: q.noPin, By: q.by, Now: now})
		return err
	})
	if err != nil {
		return err
	}
	answer.Deploy = deploy
	d.begun(deploy)
	if !answer.Same {
		d.history.note(deploy.ID, fmt.Sprintf("%d files, %d bytes; %d files with %d bytes are new", answer.Files, answer.Size, answer.Changed, answer.Ships), now)
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
		ID: catalog.NewID(now), Site: site.Name, Release: release.Digest, Previous: release.Digest,
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
