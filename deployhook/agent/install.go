package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/account"
	"portico/deployhook/agent/beneath"
	"portico/deployhook/agent/process"
	"portico/deployhook/agent/state"
	"portico/deployhook/archive"
	"portico/deployhook/objects"
	"portico/internal/pause"
	"portico/membership/catalog"
)

// release is an installed release: its resolved folder and its tree.
type release struct {
	dir     string // without links in it
	dirs    siteDirs
	tree    objects.Tree
	account account.Account
	cover   string // what must be covered so that the account can reach dir, see process.Spec
	data    []string
}

// progressGap is the least time between two reports of a fetch.
const progressGap = 250 * time.Millisecond

// healTries is how often damaged objects are fetched again for one release.
const healTries = 2

func (a *Agent) dirs(site string) siteDirs {
	return siteDirs{root: filepath.Join(a.o.Dir, "sites", site)}
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
func (u *unit) install(want catalog.WantedRelease) (release, error) {
	a := u.a
	rel := release{dirs: a.dirs(u.key.site)}
	rel.dir = rel.dirs.release(u.key.release)
	var err error
	if rel.data, err = dataNames(want.Settings); err != nil {
		return rel, final(err)
	}
	if rel.account, err = a.siteAccount(u.key.site, want.Settings); err != nil {
		return rel, final(err)
	}
	lock := a.siteLock(u.key.site)
	lock.Lock()
	defer lock.Unlock()
	if err := a.prepareSite(rel.dirs, rel.account); err != nil {
		return rel, fmt.Errorf("prepare site folder: %w", err)
	}
	if a.root {
		if rel.cover, err = unreachable(rel.dirs.root); err != nil {
			return rel, final(err)
		}
	}
	for try := 0; ; try++ {
		if rel.tree, err = u.fetch(); err != nil {
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
func (u *unit) dropChanged(want catalog.WantedRelease, rel release) (bool, error) {
	if want.Settings.Kind != sites.KindHook && (!want.Before || len(want.Settings.Deploy.Before) == 0) {
		return false, nil
	}
	if _, err := os.Lstat(rel.dir); err != nil {
		return false, nil
	}
	err := u.verify(rel)
	if !errors.Is(err, objects.ErrCorrupt) {
		return false, err
	}
	u.log.Warn("release is not as it was deployed: it is assembled anew before its commands run", "error", err)
	if err := removeBelow(rel.dirs.releases(), u.key.release); err != nil {
		return false, fmt.Errorf("remove release that was changed: %w", err)
	}
	return true, nil
}

// verify compares a release's folder with what was deployed.
func (u *unit) verify(rel release) error {
	rest, _, err := splitData(rel.tree, rel.data)
	if err != nil {
		return err
	}
	return objects.Check(u.ctx, rest, rel.dir)
}

// fetch makes the store hold the release. An installed release needs its tree
// only: its objects may have been collected since.
func (u *unit) fetch() (objects.Tree, error) {
	a := u.a
	f := objects.Fetcher{Store: a.store, Sources: a.peers.sources(), Logger: u.log, Of: u.files()}
	tree, err := f.Tree(u.ctx, u.files())
	if err != nil {
		return tree, err
	}
	if _, err := os.Lstat(a.dirs(u.key.site).release(u.key.release)); err == nil {
		return tree, nil
	}
	u.step(catalog.StepFetching, "")
	var last time.Time
	err = f.Objects(u.ctx, tree.Files, func(done, total int64) {
		if now := time.Now(); now.Sub(last) >= progressGap || done == total {
			last = now
			u.set(func(r *catalog.InstanceReport) { r.Progress.Done, r.Progress.Total = done, total })
		}
	})
	return tree, err
}

// assemble makes the release's folder, with links to the data folders.
func (u *unit) assemble(rel release) error {
	rest, seeds, err := splitData(rel.tree, rel.data)
	if err != nil {
		return final(err)
	}
	if err := u.a.seedData(u.ctx, rel.dirs, rel.account, rel.data, seeds); err != nil {
		return err
	}
	if _, err := os.Lstat(rel.dir); err == nil {
		return nil
	}
	u.step(catalog.StepInstalling, "")
	settings := u.wanted().Settings
	in, err := beneath.Open(rel.dirs.releases())
	if err != nil {
		return err
	}
	defer in.Close()
	return u.a.store.Assemble(u.ctx, rest, in.Root(), u.key.release, objects.Assembly{
		Link:   settings.Kind == sites.KindStatic && len(settings.Deploy.Before) == 0,
		Finish: func(root *os.Root) error { return linkData(root, rel.data) },
	})
}

// prepareSite makes the folders of a site. With accounts of their own, a site's
// folder opens for its account only, the release in it is not writable, and
// data, home and tmp are the site's. The folder that holds them is not: so no
// name of these can be taken for a link by the site.
func (a *Agent) prepareSite(d siteDirs, acc account.Account) error {
	sites, err := beneath.Open(filepath.Dir(d.root))
	if err != nil {
		return err
	}
	defer sites.Close()
	site, err := sites.Make(filepath.Base(d.root), 0o700)
	if errors.Is(err, beneath.ErrLink) {
		site, err = beneath.Open(d.root) // an operator's own: no site can make a link here
	}
	if err != nil {
		return err
	}
	defer site.Close()
	if a.root {
		if err := errors.Join(site.Own(0, acc.GID), site.Chmod(0o750)); err != nil {
			return err
		}
	}
	for _, dir := range []string{d.releases(), d.logs(), d.data(), d.home(), d.tmp()} {
		below, err := site.Make(filepath.Base(dir), 0o700)
		if errors.Is(err, beneath.ErrLink) {
			continue // an operator's own as well, who has seen to owner and mode
		}
		if err != nil {
			return err
		}
		if a.root {
			err = handOver(below, dir, d, acc)
		}
		if err = errors.Join(err, below.Close()); err != nil {
			return err
		}
	}
	return nil
}

// handOver gives a folder of a site to whom it belongs.
func handOver(f *beneath.Dir, dir string, d siteDirs, acc account.Account) error {
	switch dir {
	case d.releases():
		return errors.Join(f.Own(0, acc.GID), f.Chmod(0o750))
	case d.logs():
		return nil // the agent's alone, as it was made
	}
	return f.Own(acc.UID, acc.GID)
}

// unreachable returns the topmost folder above dir that sites' accounts may not
// enter, empty when there is none.
func unreachable(dir string) (string, error) {
	if _, err := os.Stat(filepath.Dir(dir)); err != nil {
		return "", err
	}
	top, mode := closedAbove(dir)
	if top != "" && (!process.MayCover() || top == "/") {
		return "", fmt.Errorf("%s (mode %04o) cannot be entered by the accounts of sites: chmod o+x it, or give the agent another --dir", top, mode)
	}
	return top, nil
}

// closedAbove returns the topmost folder above path that accounts other than its owner's may not enter, and its
// mode; empty when there is none.
func closedAbove(path string) (top string, mode os.FileMode) {
	for d := filepath.Dir(path); ; d = filepath.Dir(d) {
		if fi, err := os.Stat(d); err == nil && fi.Mode().Perm()&0o001 == 0 {
			top, mode = d, fi.Mode().Perm()
		}
		if d == filepath.Dir(d) {
			return top, mode
		}
	}
}

// before runs the site's command that comes once per cluster before the first
// instance of a release. This machine has been told to; it remembers that it
// did, so that a restart does not do it again.
func (u *unit) before(want catalog.WantedRelease, rel release) error {
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
	releases, _ := os.ReadDir(d.releases())
	var errs []error
	for _, e := range releases {
		if !keep[e.Name()] && !a.inUse(unitKey{site, e.Name()}) {
			errs = append(errs, removeBelow(d.releases(), e.Name()))
		}
	}
	errs = append(errs, a.tidyLogs(d), a.tidyTomcats(d))
	if len(keep) == 0 {
		// The site is gone. Its data stays, and its logs for whoever asks why.
		errs = append(errs, removeBelow(d.root, filepath.Base(d.tmp())), removeBelow(d.root, filepath.Base(d.home())))
	}
	return errors.Join(errs...)
}

// inUse looks once more under the site's lock: a unit may have begun since.
func (a *Agent) inUse(k unitKey) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.units[k] != nil
}

// removeBelow removes a name in one of the agent's folders, with all that is in it.
func removeBelow(dir, name string) error {
	d, err := beneath.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(d.RemoveAll(name), d.Close())
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
			digest := catalog.FilesOf(id)
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
