package start

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"portico/cmd/portico/shell"
	"portico/conf"
	"portico/deployhook/agent/appserver"
)

// given returns what the command was given: its file, PORTICO_ variables of settings, and flags.
func (st *settings) given(s *shell.Call, cmd *cobra.Command) (appserver.Started, error) {
	name, data, err := st.read(s)
	if err != nil {
		return appserver.Started{}, err
	}
	var g appserver.Started
	if data != nil {
		if g.Config, err = filepath.Abs(name); err != nil {
			return appserver.Started{}, err
		}
	}
	for _, key := range conf.Keys() {
		if value, ok := s.Lookup(key.Env); ok && key.Path != "dir" { // it is found by that
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

// loadAs is load for a command that follows on an agent: what it is not given itself is as that one was started.
func (st *settings) loadAs(s *shell.Call, cmd *cobra.Command) (conf.Config, error) {
	c, err := st.load(s, cmd)
	if err != nil {
		return c, err
	}
	g, path, err := appserver.ReadStarted(c.Dir)
	if err != nil || g == nil {
		return c, err
	}
	if st.file == "" && s.Env("PORTICO_CONFIG") == "" && g.Config != "" {
		if _, err := os.Stat(g.Config); err == nil {
			st.file = g.Config
		}
	}
	keys := conf.Keys()
	st.before = slices.DeleteFunc(g.Set, func(set string) bool {
		path, _, _ := strings.Cut(set, "=")
		return slices.ContainsFunc(keys, func(k conf.Key) bool {
			_, given := s.Lookup(k.Env)
			return k.Path == path && given
		})
	})
	st.beforeFrom = path
	return st.load(s, cmd)
}
