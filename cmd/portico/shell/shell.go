// Package shell is what a command is given by whoever calls it, environment, state folder and access to a cluster, and how this
// program is called again from the same shell.
package shell

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"portico/conf"
	"portico/internal/exitcode"
	"portico/internal/statedir"
)

// Call is what every command is given: the environment and the flags of the root.
type Call struct {
	Version string // of the program
	Environ []string
	Dir     string // --dir
}

// Env returns a variable of the environment, or "".
func (s *Call) Env(name string) string {
	value, _ := s.Lookup(name)
	return value
}

// Lookup is env that tells an empty variable from none.
func (s *Call) Lookup(name string) (string, bool) {
	for _, kv := range s.Environ {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// UpDir is where up keeps its state unless told otherwise.
const UpDir = "portico-data"

// Access finds the cluster: --dir, PORTICO_DIR, PORTICO_ADDR with
// PORTICO_TOKEN, what login saved, then the usual folders of a proxy and of up.
func (s *Call) Access() (statedir.Access, error) {
	if dir := s.Dir; dir != "" {
		return statedir.ReadAccess(filepath.Join(dir, statedir.ClientFile))
	}
	if dir := s.Env("PORTICO_DIR"); dir != "" {
		return statedir.ReadAccess(filepath.Join(dir, statedir.ClientFile))
	}
	if addr := s.Env("PORTICO_ADDR"); addr != "" {
		a := statedir.Access{Addr: addr, Fingerprint: s.Env("PORTICO_FINGERPRINT"), Token: s.Env("PORTICO_TOKEN")}
		if a.Token == "" {
			return statedir.Access{}, exitcode.Misuse(errors.New("PORTICO_ADDR is set and PORTICO_TOKEN is not"))
		}
		return a, nil
	}
	var candidates []string
	if saved, err := s.LoginFile(); err == nil {
		candidates = append(candidates, saved)
	}
	candidates = append(candidates, filepath.Join(UpDir, statedir.ClientFile), filepath.Join(conf.Default().Dir, statedir.ClientFile))
	for _, path := range candidates {
		a, err := statedir.ReadAccess(path)
		if err == nil {
			return a, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return statedir.Access{}, err
		}
	}
	return statedir.Access{}, exitcode.Misuse(fmt.Errorf("no cluster is known here: give --dir (the folder of a proxy on this machine), set PORTICO_ADDR and PORTICO_TOKEN, or run portico login"))
}

// LoginFile is where portico login keeps its access. Without a home there is no such place: a file of that
// name where the command happens to run may be anybody's, and would lead it to another cluster.
func (s *Call) LoginFile() (string, error) {
	dir := s.Env("XDG_CONFIG_HOME")
	if dir == "" {
		var err error
		if dir, err = os.UserConfigDir(); err != nil {
			return "", fmt.Errorf("no place to keep a login: set HOME, or PORTICO_ADDR and PORTICO_TOKEN in place of it: %w", err)
		}
	}
	return filepath.Join(dir, "portico", statedir.ClientFile), nil
}
