package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"portico/deployhook/agent/folders"
	"portico/deployhook/archive"
	"portico/deployhook/objects"
	"portico/internal/pause"
	"portico/membership/catalog/ids"
)

// tidyLoop removes what no release needs any more: after each change, and now and then for
// objects that were too young by then.
func (a *Agent) tidyLoop(ctx context.Context) {
	tick := time.NewTicker(pause.Jitter(objectGrace)) // objects come of age without any change
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

// removeSuperfluous removes releases that are neither wanted nor kept for a rollback, what
// removed sites left except their data, old logs, and objects of no kept release.
func (a *Agent) removeSuperfluous(ctx context.Context) {
	keep, ok := a.keptReleases()
	if !ok {
		return // before the wanted state is known, anything may be needed
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

// keptReleases returns the releases whose files stay, by site. It reports whether the wanted state is known.
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

// inUse reports whether a release has a unit. The caller has the site's lock and looks once more: a unit may have begun since.
func (a *Agent) inUse(k unitKey) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.units[k] != nil
}

// objectGrace is how long an object stays to which no tree refers. A fetch must take less time from its
// first object to its tree.
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

// objectsOf returns the digests of some releases' trees and of all files in them.
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

// giveBack removes the objects that a release has brought so far, because it found the disk full. So the
// other sites have room again.
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
