package pebble

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
)

const (
	module  = "github.com/letsencrypt/pebble/v2/cmd/"
	version = "v2.10.1"
)

// programs returns the folder of the two programs. They are a module of their own,
// built once per version and machine.
var programs = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	parent := filepath.Join(cache, "portico-tests", "bin")
	dir := filepath.Join(parent, "pebble-"+version+"-"+runtime.Version())
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	// Built elsewhere and renamed, because the tests of two packages may come here at one time.
	temp, err := os.MkdirTemp(parent, "new-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	cmd := exec.Command("go", "install", module+"pebble@"+version, module+"pebble-challtestsrv@"+version)
	cmd.Env = append(os.Environ(), "GOBIN="+temp, "GOFLAGS=", "GOWORK=off")
	cmd.Dir = os.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("install pebble %s: %w\n%s", version, err, out)
	}
	if err := os.Rename(temp, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			return "", err
		}
	}
	return dir, nil
})
