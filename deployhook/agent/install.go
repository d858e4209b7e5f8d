package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/beneath"
	"portico/deployhook/agent/folders"
	"portico/deployhook/agent/state"
	"portico/deployhook/archive"
	"portico/deployhook/objects"
	"portico/internal/pause"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

// progressGap is the least time between two reports of a fetch.
const progressGap = 250 * time.Millisecond

// healTries is how often damaged objects are fetched again for one release.
const healTries = 2

// dirs are the folders of a site.
func (a *Agent) dirs(site string) folders.Site {
	return folders.Of(a.o.Dir, site)
}

// siteLock guards the folders of one site.
func (a *Agent) siteLock(site string) *sync.Mutex {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.siteLocks[site] == nil {
		a.siteLocks[site] = new(sync.Mutex)
	}
	return a.siteLocks[site]
}

// install brings a release's files here. All of it can be repeated: what is
// there already costs nothing.
func (u *unit) install(want messages.WantedRelease) (folders.Release, error) {
	a := u.a
	rel := folders.Release{Site: a.dirs(u.key.site)}
	rel.Dir = rel.Site.Release(u.key.release)
	var err error
	if rel.Data, err = folders.DataNames(want.Settings); err != nil {
		return rel, final(err)
	}
	if rel.Account, err = a.siteAccount(u.key.site, want.Settings); err != nil {
		return rel, final(err)
	}
	lock := a.siteLock(u.key.site)
	lock.Lock()
	defer lock.Unlock()
	if err := folders.Prepare(rel.Site, rel.Account, a.root); err != nil {
		return rel, fmt.Errorf("prepare site folder: %w", err)
	}
	if a.root {
		if rel.Cover, err = folders.Unreachable(rel.Site.Root); err != nil {
			return rel, final(err)
		}
	}
	for try := 0; ; try++ {
		if rel.Tree, err = u.fetch(); err != nil {
			return rel, err
		}
		if try == 0 {
			dropped, err := u.dropChanged(want, rel)
			if err != nil {
				return rel, err
			}
			if dropped {
				continue
			}
		}
		if err = u.assemble(rel); err == nil {
			return rel, nil
		}
		damaged := errors.Is(err, objects.ErrCorrupt) || errors.Is(err, objects.ErrNotFound)
		if !damaged || try == healTries {
			return rel, err
		}
		u.log.Warn("damaged object is fetched again", "error", err)
	}
}

// dropChanged removes the folder of a release that is there already and is not as it was deployed, where
// commands of it are to run: they run from what was verified only. It is assembled anew then, which
// compares every file.
func (u *unit) dropChanged(want messages.WantedRelease, rel folders.Release) (bool, error) {
	if want.Settings.Kind != sites.KindHook && (!want.Before || len(want.Settings.Deploy.Before) == 0) {
		return false, nil
	}
	if _, err := os.Lstat(rel.Dir); err != nil {
		return false, nil
	}
	err := u.verify(rel)
	if !errors.Is(err, objects.ErrCorrupt) {
		return false, err
	}
	u.log.Warn("release is not as it was deployed: it is assembled anew before its commands run", "error", err)
	if err := folders.Remove(rel.Site.Releases(), u.key.release); err != nil {
		return false, fmt.Errorf("remove release that was changed: %w", err)
	}
	return true, nil
}

// verify compares a release's folder with what was deployed.
func (u *unit) verify(rel folders.Release) error {
	rest, _, err := folders.SplitData(rel.Tree, rel.Data)
	if err != nil {
		return err
	}
	return objects.Check(u.ctx, rest, rel.Dir)
}

// fetch makes the store hold the release. An installed release needs its tree
// only: its objects may have been collected since.
func (u *unit) fetch() (objects.Tree, error) {
	a := u.a
	f := objects.Fetcher{Store: a.store, Sources: a.members.Sources(), Logger: u.log, Of: u.files()}
	tree, err := f.Tree(u.ctx, u.files())
	if err != nil {
		return tree, err
	}
	if _, err := os.Lstat(a.dirs(u.key.site).Release(u.key.release)); err == nil {
		return tree, nil
	}
	u.step(catalog.StepFetching, "")
	var last time.Time
	err = f.Objects(u.ctx, tree.Files, func(done, total int64) {
		if now := time.Now(); now.Sub(last) >= progressGap || done == total {
			last = now
			u.set(func(r *messages.InstanceReport) { r.Progress.Done, r.Progress.Total = done, total })
		}
	})
	return tree, err
}

// assemble makes the release's folder, with links to the data folders.
func (u *unit) assemble(rel folders.Release) error {
	rest, seeds, err := folders.SplitData(rel.Tree, rel.Data)
	if err != nil {
		return final(err)
	}
	seed := folders.Seeder{Store: u.a.store, Own: u.a.root, Log: u.a.log}
	if err := seed.Seed(u.ctx, rel, seeds); err != nil {
		return err
	}
	if _, err := os.Lstat(rel.Dir); err == nil {
		return nil
	}
	u.step(catalog.StepInstalling, "")
	settings := u.wanted().Settings
	in, err := beneath.Open(rel.Site.Releases())
	if err != nil {
		return err
	}
	defer in.Close()
	return u.a.store.Assemble(u.ctx, rest, in.Root(), u.key.release, objects.Assembly{
		Link:   settings.Kind == sites.KindStatic && len(settings.Deploy.Before) == 0,
		Finish: func(root *os.Root) error { return folders.LinkData(root, rel.Data) },
	})
}

// before runs the site's command that comes once per cluster before the first
// instance of a release. This machine has been told to; it remembers that it
// did, so that a restart does not do it again.
func (u *unit) before(want messages.WantedRelease, rel folders.Release) error {
	cmd := want.Settings.Deploy.Before
	if !want.Before || len(cmd) == 0 {
		return nil
	}
	mark := cmp.Or(want.Deploy, want.Release)
	var done bool
	u.a.state.Peek(func(s *state.File) { done = s.Before[u.key.site] == mark })
	if done {
		return nil
	}
	u.step(catalog.StepInstalling, "runs deploy.before: "+cmd[0])
	if err := u.command(u.ctx, "deploy.before", cmd, want, rel, 0); err != nil {
		return final(err)
	}
	return u.a.state.Change(func(s *state.File) { s.Before[u.key.site] = mark })
}

// tidyLoop removes what no release needs any more, a while after the change
// that made it so.
func (a *Agent) tidyLoop(ctx context.Context) {
	tick := time.NewTicker(pause.Jitter(objectGrace)) // objects become old enough without any change
	defer tick.Stop()
	for {
		select {
		case <-a.tidy:
			a.removeSuperfluous(ctx)
		case <-tick.C:
			a.removeSuperfluous(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// removeSuperfluous removes releases that are neither wanted nor kept for a
// rollback, the leavings of removed sites except their data, old logs, and
// objects that no kept release has.
func (a *Agent) removeSuperfluous(ctx context.Context) {
	keep, ok := a.keptReleases()
	if !ok {
		return // nothing is known to be superfluous before a wanted state is known
	}
	sites, err := os.ReadDir(filepath.Join(a.o.Dir, "sites"))
	if err != nil {
		a.log.Warn("folders not tidied", "error", err)
		return
	}
	for _, e := range sites {
		if err := a.tidySite(e.Name(), keep[e.Name()]); err != nil {
			a.log.Warn("site folder not tidied", "site", e.Name(), "error", err)
		}
	}
	if err := a.collect(ctx, keep); err != nil && ctx.Err() == nil {
		a.log.Warn("objects not collected", "error", err)
	}
}

// keptReleases returns by site the releases whose files stay.
func (a *Agent) keptReleases() (map[string]map[string]bool, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	keep := make(map[string]map[string]bool)
	add := func(site, release string) {
		if keep[site] == nil {
			keep[site] = make(map[string]bool)
		}
		keep[site][release] = true
	}
	for _, r := range a.wanted.Releases {
		add(r.Site, r.Release)
	}
	for site, list := range a.wanted.Keep {
		for _, r := range list {
			add(site, r)
		}
	}
	for k := range a.units {
		add(k.site, k.release)
	}
	return keep, a.haveIt
}

func (a *Agent) tidySite(site string, keep map[string]bool) error {
	d := a.dirs(site)
	lock := a.siteLock(site)
	lock.Lock()
	defer lock.Unlock()
	releases, _ := os.ReadDir(d.Releases())
	var errs []error
	for _, e := range releases {
		if !keep[e.Name()] && !a.inUse(unitKey{site, e.Name()}) {
			errs = append(errs, folders.Remove(d.Releases(), e.Name()))
		}
	}
	errs = append(errs, a.logs.Tidy(d), a.tidyTomcats(d))
	if len(keep) == 0 {
		// The site is gone. Its data stays, and its logs for whoever asks why.
		errs = append(errs, folders.Remove(d.Root, filepath.Base(d.Tmp())), folders.Remove(d.Root, filepath.Base(d.Home())))
	}
	return errors.Join(errs...)
}

// inUse looks once more under the site's lock: a unit may have begun since.
func (a *Agent) inUse(k unitKey) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.units[k] != nil
}

// objectGrace is how long an object that nothing refers to stays: longer than
// it takes from the first object of a fetch to its tree.
const objectGrace = time.Hour

// collect removes the objects of releases that are gone.
func (a *Agent) collect(ctx context.Context, keep map[string]map[string]bool) error {
	wanted, err := a.objectsOf(keep)
	if err != nil {
		return err
	}
	_, _, err = a.store.GC(ctx, func(digest string) bool { return wanted[digest] }, objectGrace)
	return err
}

// objectsOf returns the digests of the releases and of all files in them.
func (a *Agent) objectsOf(keep map[string]map[string]bool) (map[string]bool, error) {
	digests := make(map[string]bool)
	for _, releases := range keep {
		for id := range releases {
			digest := ids.FilesOf(id)
			digests[digest] = true
			tree, err := a.store.Tree(digest, archive.Limits{})
			if errors.Is(err, objects.ErrNotFound) {
				continue // kept for a rollback elsewhere, never installed here
			}
			if err != nil {
				return nil, err
			}
			for _, f := range tree.Files {
				digests[f.Digest] = true
			}
		}
	}
	return digests, nil
}

// giveBack removes what a release that found the disk full has brought so far,
// so that the sites beside it have room again.
func (a *Agent) giveBack(ctx context.Context, k unitKey) {
	keep, ok := a.keptReleases()
	if !ok {
		return
	}
	for site, releases := range keep {
		if site == k.site || releases[k.release] {
			delete(releases, k.release)
		}
	}
	mine, err := a.objectsOf(map[string]map[string]bool{k.site: {k.release: true}})
	if err == nil {
		var others map[string]bool
		if others, err = a.objectsOf(keep); err == nil {
			_, _, err = a.store.GC(ctx, func(d string) bool { return !mine[d] || others[d] }, 0)
		}
	}
	if err != nil && ctx.Err() == nil {
		a.log.Warn("space not given back", "site", k.site, "error", err)
	}
}
