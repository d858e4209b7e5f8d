package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"portico/deployhook/agent/account"
	"portico/deployhook/agent/command"
	"portico/deployhook/agent/folders"
	"portico/deployhook/agent/process"
	"portico/deployhook/agent/state"
	"portico/deployhook/agent/tomcat"
	"portico/deployhook/objects"
	"portico/membership/catalog/messages"
)

// startOwnTomcat starts a Tomcat for this release alone, as the site's account. No other site can
// read its memory. A former release is a process of its own, and keeps its sessions.
func (u *unit) startOwnTomcat(want messages.WantedRelease, rel folders.Release, rec state.Instance) (*instance, error) {
	home, err := tomcat.Find(u.a.o.Tomcat.Home)
	if errors.Is(err, tomcat.ErrNotFound) {
		err = fmt.Errorf("%w: install its files (on Debian the package tomcat10-common), say where they lie (agent.tomcat.home), or name the Manager of a running one that all sites share (agent.tomcat.url)", err)
	}
	if err != nil {
		return nil, final(err)
	}
	// What tidies the site's folder does not see a base whose instance is not written down yet.
	lock := u.a.siteLock(u.key.site)
	lock.Lock()
	defer lock.Unlock()
	base := filepath.Join(rel.Site.Tomcats(), rec.ID)
	inst, err := u.startWith(want, rec, func(rec state.Instance) (process.Spec, *os.File, error) {
		return u.tomcatSpec(home, base, want, rel, rec)
	})
	if err != nil {
		return nil, errors.Join(err, folders.Remove(rel.Site.Tomcats(), rec.ID))
	}
	if run, ok := inst.running.(*runSite); ok {
		run.base = base
	}
	return inst, nil
}

// tomcatSpec makes the folder of a site's Tomcat and says how to start it.
func (u *unit) tomcatSpec(home tomcat.Home, base string, want messages.WantedRelease, rel folders.Release, rec state.Instance) (process.Spec, *os.File, error) {
	vars := command.Environment{
		Member: u.a.o.Name,
		Site:   u.key.site, Release: u.key.release, ReleaseDir: rel.Dir, Instance: rec.ID,
		Port: rec.Port, Folders: rel.Site, User: rel.Account.Name, Settings: want.Settings,
	}.Vars()
	java, err := tomcat.Java(vars["PATH"], vars["JAVA_HOME"], os.Getenv("JAVA_HOME"))
	if err != nil {
		return process.Spec{}, nil, final(err)
	}
	args, err := home.Command(java, base, want.Settings.Limits.Memory.Bytes(), vars)
	if err != nil {
		return process.Spec{}, nil, final(err)
	}
	if err := u.makeBase(home, base, want, rel, rec); err != nil {
		return process.Spec{}, nil, err
	}
	log, err := u.a.logs.Open(rel.Site, rec.ID, rec.Release, rel.Account)
	if err != nil {
		return process.Spec{}, nil, err
	}
	return process.Spec{
		Path: java, Args: args, Dir: rel.Site.Home(), Env: command.List(vars), Account: rel.Account, Log: log,
		Site: rel.Site.Root, Cover: rel.Cover,
		Limits: limits(want.Settings.Limits),
	}, log, nil
}

// makeBase makes the base of a Tomcat. All of it lies in a folder that the site cannot
// write, so that nothing in it can be swapped while it is made or removed.
func (u *unit) makeBase(home tomcat.Home, base string, want messages.WantedRelease, rel folders.Release, rec state.Instance) error {
	war, err := objects.WebApplication(rel.Tree.Files)
	if err != nil {
		return final(err)
	}
	give := u.a.giveTo(rel.Account)
	if err := os.MkdirAll(rel.Site.Tomcats(), 0o700); err != nil {
		return err
	}
	if err := give(rel.Site.Tomcats(), false); err != nil {
		return err
	}
	return home.Make(tomcat.Site{
		Base: base, App: filepath.Join(rel.Dir, filepath.FromSlash(war)), War: war != "",
		Context: contextPath(want.Settings), Port: rec.Port, Links: len(rel.Data) > 0,
	}, give)
}

// giveTo returns what lets an account read a file or folder of root's, or own it.
func (a *Agent) giveTo(acc account.Account) func(name string, write bool) error {
	return func(name string, write bool) error {
		if !a.root {
			return nil
		}
		if write {
			return os.Lchown(name, acc.UID, acc.GID) // just made, in a folder that the site cannot enter yet
		}
		fi, err := os.Lstat(name)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o640)
		if fi.IsDir() {
			mode = 0o750
		}
		return errors.Join(os.Lchown(name, 0, acc.GID), os.Chmod(name, mode))
	}
}

// reviveTomcat finds a site's own Tomcat that an earlier agent started.
func (a *Agent) reviveTomcat(rec state.Instance) running {
	r := a.reviveRun(rec)
	if r == nil {
		return nil
	}
	r.base = filepath.Join(a.dirs(rec.Site).Tomcats(), rec.ID)
	return r
}

// tidyTomcats removes the bases of a site whose processes are gone, as after a power cut.
func (a *Agent) tidyTomcats(d folders.Site) error {
	bases, err := os.ReadDir(d.Tomcats())
	if err != nil {
		return nil // there are none
	}
	live := map[string]bool{}
	a.state.Peek(func(s *state.File) {
		for id := range s.Instances {
			live[id] = true
		}
	})
	var errs []error
	for _, e := range bases {
		if !live[e.Name()] {
			errs = append(errs, folders.Remove(d.Tomcats(), e.Name()))
		}
	}
	return errors.Join(errs...)
}
