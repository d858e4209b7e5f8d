package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"portico/deployhook/agent/folders"
	"portico/deployhook/agent/state"
	"portico/deployhook/objects"
	"portico/internal/durable"
)

// open makes the folders, locks them, cleans them and reads the state.
func (a *Agent) open() error {
	var err error
	if a.lock = a.o.Lock; a.lock == nil {
		if a.lock, err = state.LockDir(a.o.Dir); err != nil {
			return err
		}
	}
	if err := state.MakeDir(filepath.Join(a.o.Dir, "sites"), 0o711); err != nil {
		return fmt.Errorf("open agent directory: %w", err)
	}
	if a.root {
		if _, err := folders.Unreachable(filepath.Join(a.o.Dir, "sites", "any")); err != nil {
			return fmt.Errorf("open agent directory: %w", err)
		}
	}
	if a.store, err = objects.Open(filepath.Join(a.o.Dir, "objects")); err != nil {
		return err
	}
	// Sites must not read one another's releases here.
	if err := os.Chmod(a.store.Dir(), 0o700); err != nil {
		return fmt.Errorf("open agent directory: %w", err)
	}
	if err := a.clean(); err != nil {
		return fmt.Errorf("clean agent directory: %w", err)
	}
	if a.state, err = state.Open(a.o.Dir, a.log); err != nil {
		return err
	}
	var known string
	a.state.Peek(func(s *state.File) { known = s.Cluster })
	if a.o.Cluster != "" && known != "" && a.o.Cluster != known {
		return fmt.Errorf("open agent directory %s: it belongs to cluster %s, not %s: use another --dir", a.o.Dir, known, a.o.Cluster)
	}
	return nil
}

// clean removes what was being written when an agent was killed. What it left deeper in a
// site's data goes when a folder is made there again.
func (a *Agent) clean() error {
	var errs []error
	for _, pattern := range []string{"agent/" + durable.Temporary, "sites/*/releases/*" + objects.TempSuffix, "sites/*/data/" + folders.SeedName} {
		names, _ := filepath.Glob(filepath.Join(a.o.Dir, pattern))
		for _, name := range names {
			errs = append(errs, folders.Remove(filepath.Dir(name), filepath.Base(name)))
		}
	}
	return errors.Join(errs...)
}
