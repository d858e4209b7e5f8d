package shell

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"portico/internal/statedir"
)

// Invocation is how this program is called in the shell that it was started from: by its name
// where the search path leads to this very program, else by its path. installed is a copy of it,
// "" for none: what go run has built is gone when it ends.
func Invocation(installed string) string {
	self, err := os.Executable()
	if err != nil {
		return "portico"
	}
	if found, err := exec.LookPath("portico"); err == nil && sameFile(found, self) {
		return "portico"
	}
	if installed != "" {
		self = installed
	}
	return FromHere(self)
}

// FromHere is path as a word of a shell in this folder.
func FromHere(path string) string {
	if here, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(rel) {
			path = "." + string(filepath.Separator) + rel
		}
	}
	return shellWord(path)
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// DirFlag is the --dir that leads a command in this shell to the cluster whose state lies in dir;
// empty where the command finds it by itself.
func DirFlag(environ []string, dir string) string {
	want, err := statedir.ReadAccess(filepath.Join(dir, statedir.ClientFile))
	if found, other := (&Call{Environ: environ}).Access(); err == nil && other == nil && found == want {
		return ""
	}
	return " --dir " + shellWord(dir)
}

// shellWord writes s so that a shell takes it as one word.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r > 127 ||
			strings.ContainsRune("-_./:,+@%=", r) || r == '\\' && runtime.GOOS == "windows"
	}
	switch {
	case s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0:
		return s
	case runtime.GOOS == "windows":
		return `"` + s + `"`
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
