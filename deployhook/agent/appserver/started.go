package appserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"portico/internal/statedir"
)

// startedFile, in the agent's own folder, says how the agent there was started, so that portico agent stop --sites
// ends what it has left in the same way: at its addresses, for its accounts, within its limits.
const startedFile = "started.json"

// Started is what an agent was given beside its defaults.
type Started struct {
	Config string   `json:"config,omitempty"` // configuration file, absolute; empty: none was read
	Set    []string `json:"set,omitempty"`    // path=value, of variables and flags
}

// Remember writes it down for the next command on the same folder. The folder belongs to one process: the
// caller holds its lock.
func (g *Started) Remember(dir string) error {
	path := filepath.Join(dir, "agent", startedFile)
	data, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(path); err == nil && string(old) == string(data) {
		return nil
	}
	return statedir.WriteWhole(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// ReadStarted returns how the agent that last had the folder was started, and the file that says so; nil: no agent has run
// there, or one of a version that did not write it.
func ReadStarted(dir string) (g *Started, path string, err error) {
	path = filepath.Join(dir, "agent", startedFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, path, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		return nil, path, fmt.Errorf("read how the agent was started: %s: %w: remove the file, and give this command the agent's flags", path, err)
	}
	return g, path, nil
}
