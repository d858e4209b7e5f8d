package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// stateVersion is raised when an older agent could misread the file.
const stateVersion = 1

// stateFile is agent/state.json: what a restarted agent must know. It is
// written whole, by temporary file, flush and rename.
type stateFile struct {
	Version   int                       `json:"version"`
	Cluster   string                    `json:"cluster,omitempty"`
	Wanted    *catalog.Wanted           `json:"wanted,omitempty"`
	Instances map[string]instanceRecord `json:"instances,omitempty"` // by instance id
	UIDs      map[string]int            `json:"uids,omitempty"`      // by site; kept as long as the site's data
	Before    map[string]string         `json:"before,omitempty"`    // by site: the deploy whose before command has run
	Hooks     map[string]string         `json:"hooks,omitempty"`     // by site: the release that was activated last
}

// instanceRecord is enough to find an instance again. PID is zero before the
// start and for instances without a process of their own.
type instanceRecord struct {
	ID      string     `json:"id"`
	Site    string     `json:"site"`
	Release string     `json:"release"`
	Kind    sites.Kind `json:"kind"`
	PID     int        `json:"pid,omitempty"`
	Mark    string     `json:"mark,omitempty"` // tells this process from a later one with its pid, see process.markOf
	UID     int        `json:"uid,omitempty"`  // of the process, or of what installed it
	Port    int        `json:"port,omitempty"`
	Context string     `json:"context,omitempty"` // tomcat: context path
	Tomcat  string     `json:"tomcat,omitempty"`  // tomcat: version label there
	Started time.Time  `json:"started"`
}

// readState returns what name holds; a missing file is an empty state.
func readState(name string) (stateFile, error) {
	s := stateFile{Version: stateVersion}
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("read agent state: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(b, &s); err != nil {
			return s, fmt.Errorf("read agent state %s: %w: move the file away to start afresh; running sites are then started anew", name, err)
		}
		if s.Version > stateVersion {
			return s, fmt.Errorf("read agent state %s: it was written by a newer version of the program", name)
		}
	}
	s.Version = stateVersion
	for _, m := range []*map[string]string{&s.Before, &s.Hooks} {
		if *m == nil {
			*m = make(map[string]string)
		}
	}
	if s.Instances == nil {
		s.Instances = make(map[string]instanceRecord)
	}
	if s.UIDs == nil {
		s.UIDs = make(map[string]int)
	}
	return s, nil
}

// writeFile replaces name so that a reader, also one after a power failure,
// finds the old content or the new.
func writeFile(name string, b []byte, mode fs.FileMode) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".write-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return syncDir(dir)
}

// State changes the state file under a.mu; change returns false to skip the write.
func (a *Agent) state(change func(*stateFile)) error {
	a.stateMu.Lock()
	defer a.stateMu.Unlock()
	change(&a.st)
	b, err := json.MarshalIndent(a.st, "", "  ")
	if err != nil {
		return fmt.Errorf("write agent state: %w", err)
	}
	if err := writeFile(a.statePath, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write agent state: %w", err)
	}
	return nil
}

// saveState is state for changes whose loss only costs time after a crash: the
// error is logged, the agent goes on.
func (a *Agent) saveState(change func(*stateFile)) {
	if err := a.state(change); err != nil {
		a.log.Error("agent state not saved", "error", err)
	}
}

// readLocked calls look with the state in memory.
func (a *Agent) peekState(look func(*stateFile)) {
	a.stateMu.Lock()
	defer a.stateMu.Unlock()
	look(&a.st)
}

// CheckState returns why an agent could not go on from what lies in the state folder; nil: it could, or nothing is there.
func CheckState(dir string) error {
	_, err := readState(filepath.Join(dir, "agent", "state.json"))
	return err
}
