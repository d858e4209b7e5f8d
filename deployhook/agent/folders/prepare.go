package folders

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"portico/deployhook/agent/account"
	"portico/deployhook/agent/beneath"
	"portico/deployhook/agent/process"
)

// Prepare makes the folders of a site. With accounts of their own, which only root gives, a site's
// folder opens for its account only, the release in it is not writable, and
// data, home and tmp are the site's. The folder that holds them is not: so no
// name of these can be taken for a link by the site.
func Prepare(d Site, acc account.Account, root bool) error {
	sites, err := beneath.Open(filepath.Dir(d.Root))
	if err != nil {
		return err
	}
	defer sites.Close()
	site, err := sites.Make(filepath.Base(d.Root), 0o700)
	if errors.Is(err, beneath.ErrLink) {
		site, err = beneath.Open(d.Root) // an operator's own: no site can make a link here
	}
	if err != nil {
		return err
	}
	defer site.Close()
	if root {
		if err := errors.Join(site.Own(0, acc.GID), site.Chmod(0o750)); err != nil {
			return err
		}
	}
	for _, dir := range []string{d.Releases(), d.Logs(), d.Data(), d.Home(), d.Tmp()} {
		below, err := site.Make(filepath.Base(dir), 0o700)
		if errors.Is(err, beneath.ErrLink) {
			continue // an operator's own as well, who has seen to owner and mode
		}
		if err != nil {
			return err
		}
		if root {
			err = handOver(below, dir, d, acc)
		}
		if err = errors.Join(err, below.Close()); err != nil {
			return err
		}
	}
	return nil
}

// handOver gives a folder of a site to whom it belongs.
func handOver(f *beneath.Dir, dir string, d Site, acc account.Account) error {
	switch dir {
	case d.Releases():
		return errors.Join(f.Own(0, acc.GID), f.Chmod(0o750))
	case d.Logs():
		return nil // the agent's alone, as it was made
	}
	return f.Own(acc.UID, acc.GID)
}

// Unreachable returns the topmost folder above dir that sites' accounts may not
// enter, empty when there is none.
func Unreachable(dir string) (string, error) {
	if _, err := os.Stat(filepath.Dir(dir)); err != nil {
		return "", err
	}
	top, mode := ClosedAbove(dir)
	if top != "" && (!process.MayCover() || top == "/") {
		return "", fmt.Errorf("%s (mode %04o) cannot be entered by the accounts of sites: chmod o+x it, or give the agent another --dir", top, mode)
	}
	return top, nil
}

// ClosedAbove returns the topmost folder above path that accounts other than its owner's may not enter, and its
// mode; empty when there is none.
func ClosedAbove(path string) (top string, mode os.FileMode) {
	for d := filepath.Dir(path); ; d = filepath.Dir(d) {
		if fi, err := os.Stat(d); err == nil && fi.Mode().Perm()&0o001 == 0 {
			top, mode = d, fi.Mode().Perm()
		}
		if d == filepath.Dir(d) {
			return top, mode
		}
	}
}

// Remove removes a name in one of the agent's folders, with all that is in it.
func Remove(dir, name string) error {
	d, err := beneath.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(d.RemoveAll(name), d.Close())
}
