package agent

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/beneath"
	"portico/deployhook/agent/folders"
	"portico/deployhook/agent/state"
	"portico/deployhook/objects"
	"portico/membership/catalog"
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

// install brings a release's files to this machine. It may be called again at any time: it
// does not do again what is done.
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

// dropChanged removes a release's folder if somebody has changed it and commands of the release are to
// run: they may run from verified files only. It reports whether it did. The caller then
// assembles the folder anew, which compares every file.
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

// fetch brings a release's tree and its objects into the store. Of a release whose folder is
// there it needs the tree only: the objects may have been collected since.
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

// before runs deploy.before: a command of the site that one machine of the cluster runs before the
// first instance of a release starts. The proxies have chosen this one. It remembers
// that it did, so that it does not run the command again after a restart.
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
