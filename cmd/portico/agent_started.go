package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"portico/conf"
	"portico/internal/statedir"
)

// startedFile, in the agent's own folder, says how the agent there was started, so that portico agent stop --sites
// ends what it has left in the same way: at its addresses, for its accounts, within its limits.
const startedFile = "started.json"

// startedWith is what an agent was given beside its defaults.
type startedWith struct {
	Config string   `json:"config,omitempty"` // configuration file, absolute; empty: none was read
	Set    []string `json:"set,omitempty"`    // path=value, of variables and flags
}

// given returns what the command was given: its file, PORTICO_ variables of settings, and flags.
func (st *settings) given(s *shared, cmd *cobra.Command) (startedWith, error) {
	name, data, err := st.read(s)
	if err != nil {
		return startedWith{}, err
	}
	var g startedWith
	if data != nil {
		if g.Config, err = filepath.Abs(name); err != nil {
			return startedWith{}, err
		}
	}
	for _, key := range conf.Keys() {
		if value, ok := s.lookup(key.Env); ok && key.Path != "dir" { // it is found by that
			g.Set = append(g.Set, key.Path+"="+value)
		}
	}
	for _, o := range st.overrides(s, cmd) {
		if o.path != "dir" {
			g.Set = append(g.Set, o.path+"="+o.value)
		}
	}
	return g, nil
}

// remember writes it down for the next command on the same folder. The folder belongs to one process: the
// caller holds its lock.
func (g *startedWith) remember(dir string) error {
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

// loadAs is load for a command that follows on an agent: what it is not given itself is as that one was started.
func (st *settings) loadAs(s *shared, cmd *cobra.Command) (conf.Config, error) {
	c, err := st.load(s, cmd)
	if err != nil {
		return c, err
	}
	path := filepath.Join(c.Dir, "agent", startedFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return c, nil // no agent has run there, or one of a version that did not write it
	}
	var g startedWith
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		return c, fmt.Errorf("read how the agent was started: %s: %w: remove the file, and give this command the agent's flags", path, err)
	}
	if st.file == "" && s.env("PORTICO_CONFIG") == "" && g.Config != "" {
		if _, err := os.Stat(g.Config); err == nil {
			st.file = g.Config
		}
	}
	keys := conf.Keys()
	st.before = slices.DeleteFunc(g.Set, func(set string) bool {
		path, _, _ := strings.Cut(set, "=")
		return slices.ContainsFunc(keys, func(k conf.Key) bool {
			_, given := s.lookup(k.Env)
			return k.Path == path && given
		})
	})
	st.beforeFrom = path
	return st.load(s, cmd)
}
