package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"portico/deployhook/agent/account"
	"portico/deployhook/agent/beneath"
	"portico/deployhook/agent/folders"
)

// Resolve finds the executable of a command: a name with a slash lies in the
// release (or is absolute), one without is looked for in PATH, then in the
// release. It looks with the site's rights: a command or a PATH that leads
// somewhere else, by a link in data too, tells a deployer no more than the site can find out.
func Resolve(name string, rel folders.Release, path string, root bool) (found string, err error) {
	f := finder{dir: rel.Dir, stat: os.Stat}
	if !root {
		return f.find(name, path)
	}
	if rel.Cover != "" {
		site, err := os.Open(rel.Site.Root)
		if err != nil {
			return "", err
		}
		defer site.Close()
		f.stat = func(path string) (fs.FileInfo, error) { return statCovered(path, rel.Site.Root, site) }
	}
	err = beneath.As(rel.Account.UID, rel.Account.GID, func() (err error) {
		found, err = f.find(name, path)
		return err
	})
	if err != nil {
		if why := shutOut(name, rel.Account); why != nil {
			err = why
		}
	}
	return found, err
}

// shutOut tells of a program that the agent's own search path leads to, and that a site's account
// cannot come to: one below root's home, most often. It looks nowhere that a site could choose.
func shutOut(name string, acc account.Account) error {
	if name == "" || strings.ContainsAny(name, `/\`) {
		return nil
	}
	program, err := exec.LookPath(name)
	if err != nil || !filepath.IsAbs(program) {
		return nil
	}
	places := []string{program}
	if real, err := filepath.EvalSymlinks(program); err == nil && real != program {
		places = append(places, real)
	}
	for _, place := range places {
		if top, mode := folders.ClosedAbove(place); top != "" {
			return fmt.Errorf("%q is %s here, and user %d (%s) may not enter %s, which has mode %04o: install it where everybody can run it, or chmod o+x %s",
				name, place, acc.UID, acc.Name, top, mode, top)
		}
	}
	return nil
}

// statCovered describes what a site sees at path though it may not come to its own folder, root,
// through those above: its process will be shown the folder, and where a link in there
// leads only the process can find out.
func statCovered(path, root string, site *os.File) (fs.FileInfo, error) {
	rest, ok := strings.CutPrefix(path, root+string(filepath.Separator))
	if !ok {
		return os.Stat(path)
	}
	fi, err := os.Stat(fmt.Sprintf("/proc/self/fd/%d/%s", site.Fd(), rest))
	if errors.Is(err, fs.ErrPermission) {
		return unknown{}, nil
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		pe.Path = path
	}
	return fi, err
}

// unknown is a file that only the process itself can find.
type unknown struct{ fs.FileInfo }

func (unknown) IsDir() bool       { return false }
func (unknown) Mode() fs.FileMode { return 0o755 }

// finder finds the executable of a command.
type finder struct {
	dir  string // the release
	stat func(path string) (fs.FileInfo, error)
}

func (f finder) find(name, path string) (string, error) {
	if name == "" {
		return "", errors.New("the command is empty")
	}
	if filepath.IsAbs(name) {
		return name, f.executable(name, name)
	}
	inRelease := filepath.Join(f.dir, filepath.FromSlash(name))
	if strings.ContainsAny(name, `/\`) {
		if !filepath.IsLocal(filepath.Clean(filepath.FromSlash(name))) {
			return "", fmt.Errorf("%q lies outside the release", name)
		}
		return f.withExtension(inRelease, name)
	}
	for d := range strings.SplitSeq(path, string(filepath.ListSeparator)) {
		if !filepath.IsAbs(d) {
			continue
		}
		if p, err := f.withExtension(filepath.Join(d, name), name); err == nil {
			return p, nil
		}
	}
	p, err := f.withExtension(inRelease, name)
	if err == nil {
		return p, nil
	}
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%q is neither installed on this machine nor in the release: install it, or write ./%s for a file of the release", name, name)
	}
	return "", err
}

// withExtension tries the extensions that Windows adds by itself.
func (f finder) withExtension(path, name string) (string, error) {
	if runtime.GOOS != "windows" || filepath.Ext(path) != "" {
		return path, f.executable(path, name)
	}
	for _, ext := range []string{".exe", ".com", ".bat", ".cmd"} {
		if f.executable(path+ext, name) == nil {
			return path + ext, nil
		}
	}
	return path, f.executable(path, name)
}

func (f finder) executable(path, name string) error {
	fi, err := f.stat(path)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if fi.IsDir() {
		return fmt.Errorf("%q is a folder", name)
	}
	if runtime.GOOS != "windows" && fi.Mode()&0o111 == 0 {
		return fmt.Errorf("%q is not executable: set its mode before packing (chmod +x), or start it through its interpreter", name)
	}
	return nil
}
