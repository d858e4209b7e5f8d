// Package start has the commands that run something on this machine: a proxy, an agent, both on trial, or a look whether they would start.
// Policy is not here: it lies in proxy/frontdoor and deployhook/agent/appserver.
package start

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"portico/cmd/portico/shell"
	"portico/conf"
	"portico/internal/exitcode"
)

// settings are the flags of a command that runs a process, each bound to a
// path of the configuration.
type settings struct {
	file  string
	bound []binding
	set   []string // --set path=value

	before     []string // path=value that the flags override, see loadAs
	beforeFrom string   // the file that they come from
}

type binding struct{ flag, path string }

// defaultConfigFile is read when it exists and no other is named.
func defaultConfigFile() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("ProgramData"), "portico", "portico.toml")
	}
	return "/etc/portico/portico.toml"
}

func (st *settings) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&st.file, "config", "", "configuration file (default "+defaultConfigFile()+", if it exists; PORTICO_CONFIG)")
	cmd.Flags().StringArrayVar(&st.set, "set", nil, "any setting of the configuration: path=value, may be repeated")
	st.bind(cmd, "log-level", "log.level", "debug, info, warn or error")
}

// bind adds a flag that overrides the setting at path.
func (st *settings) bind(cmd *cobra.Command, flag, path, usage string) {
	st.bound = append(st.bound, binding{flag, path})
	cmd.Flags().String(flag, "", usage+" ("+path+")")
}

// bindList adds a flag that may be repeated and overrides the list at path.
func (st *settings) bindList(cmd *cobra.Command, flag, path, usage string) {
	st.bound = append(st.bound, binding{flag, path})
	cmd.Flags().StringSlice(flag, nil, usage+" ("+path+")")
}

// load reads the configuration: defaults, file, environment, flags. base may
// change the defaults of a command; it runs before the flags.
func (st *settings) load(s *shell.Call, cmd *cobra.Command) (conf.Config, error) {
	name, data, err := st.read(s)
	if err != nil {
		return conf.Config{}, err
	}
	c, err := conf.Load(data, name, s.Environ)
	if err != nil {
		return conf.Config{}, exitcode.Misuse(err)
	}
	if err := st.override(&c, s, cmd); err != nil {
		return conf.Config{}, exitcode.Misuse(err)
	}
	return c, nil
}

// override lays the flags over c and checks the whole again.
func (st *settings) override(c *conf.Config, s *shell.Call, cmd *cobra.Command) error {
	var errs []error
	set := func(what, path, value string) {
		if err := c.Set(path, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	for _, kv := range st.before {
		path, value, _ := strings.Cut(kv, "=")
		set(st.beforeFrom, path, value)
	}
	over := st.overrides(s, cmd)
	for _, o := range over {
		set(o.what, o.path, o.value)
	}
	for _, kv := range st.set {
		if !strings.Contains(kv, "=") {
			errs = append(errs, fmt.Errorf("--set %q: write path=value, such as proxy.http=:8080", kv))
		}
	}
	if len(errs) == 0 && len(st.before)+len(over)+len(st.set) > 0 { // what the file says has been checked
		if err := c.Validate(); err != nil {
			errs = append(errs, placed(err, over))
		}
	}
	return errors.Join(errs...)
}

// placed gives each mistake the flag that made it, else the setting's whole path.
func placed(err error, flags []override) error {
	var list conf.Mistakes
	if !errors.As(err, &list) {
		return err
	}
	for i, m := range list {
		if m.Source != "" {
			continue
		}
		list[i].Source = m.Key
		for _, o := range flags {
			if o.path == m.Key {
				list[i].Source = o.what
			}
		}
	}
	return list
}

// override is one setting that a flag gives.
type override struct{ what, path, value string }

// overrides are the settings that the command's flags give, in the order in which they count.
func (st *settings) overrides(s *shell.Call, cmd *cobra.Command) []override {
	var list []override
	if s.Dir != "" {
		list = append(list, override{"--dir", "dir", s.Dir})
	}
	for _, b := range st.bound {
		f := cmd.Flags().Lookup(b.flag)
		if !f.Changed {
			continue
		}
		value := f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(list.GetSlice(), ",")
		}
		list = append(list, override{"--" + b.flag, b.path, value})
	}
	for _, kv := range st.set {
		if path, value, ok := strings.Cut(kv, "="); ok {
			list = append(list, override{"--set " + path, path, value})
		}
	}
	return list
}

func (st *settings) read(s *shell.Call) (name string, data []byte, err error) {
	name, optional := st.file, false
	if name == "" {
		name = s.Env("PORTICO_CONFIG")
	}
	if name == "" {
		name, optional = defaultConfigFile(), true
	}
	data, err = os.ReadFile(name)
	if err != nil && (!optional || !errors.Is(err, fs.ErrNotExist)) {
		return name, nil, fmt.Errorf("read configuration: %w", err)
	}
	return name, data, nil
}

// logger makes the process's logger as the configuration says.
func logger(c conf.Log, cmd *cobra.Command) (*slog.Logger, *slog.LevelVar) {
	level := &slog.LevelVar{}
	level.Set(c.MinLevel())
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), opts)), level
	}
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), opts)), level
}
