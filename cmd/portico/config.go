package main

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

	"portico/conf"
)

// shared is what every command is given: the environment and the flags of the root.
type shared struct {
	environ []string
	dir     string // --dir
}

// env returns a variable of the environment, or "".
func (s *shared) env(name string) string {
	for _, kv := range s.environ {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// settings are the flags of a command that runs a process, each bound to a
// path of the configuration.
type settings struct {
	file  string
	bound []binding
	set   []string // --set path=value
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
func (st *settings) load(s *shared, cmd *cobra.Command) (conf.Config, error) {
	name, data, err := st.read(s)
	if err != nil {
		return conf.Config{}, err
	}
	c, err := conf.Load(data, name, s.environ)
	if err != nil {
		return conf.Config{}, usageError{err}
	}
	if err := st.override(&c, s, cmd); err != nil {
		return conf.Config{}, usageError{err}
	}
	return c, nil
}

// override lays the flags over c and checks the whole again.
func (st *settings) override(c *conf.Config, s *shared, cmd *cobra.Command) error {
	var errs []error
	set := func(what, path, value string) {
		if err := c.Set(path, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	if s.dir != "" {
		set("--dir", "dir", s.dir)
	}
	for _, b := range st.bound {
		f := cmd.Flags().Lookup(b.flag)
		if !f.Changed {
			continue
		}
		set("--"+b.flag, b.path, strings.Trim(f.Value.String(), "[]"))
	}
	for _, kv := range st.set {
		path, value, ok := strings.Cut(kv, "=")
		if !ok {
			errs = append(errs, fmt.Errorf("--set %q: write path=value, such as proxy.http=:8080", kv))
			continue
		}
		set("--set "+path, path, value)
	}
	if len(errs) == 0 {
		if err := c.Validate(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (st *settings) read(s *shared) (name string, data []byte, err error) {
	name, optional := st.file, false
	if name == "" {
		name = s.env("PORTICO_CONFIG")
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
	setLevel(level, c)
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), opts)), level
	}
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), opts)), level
}

func setLevel(level *slog.LevelVar, c conf.Log) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.Level)); err == nil {
		level.Set(l)
	}
}
