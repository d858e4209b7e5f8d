package start

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"portico/cmd/portico/shell"
	"portico/internal/statedir"
)

// upStateDir makes the folder in which up keeps its state. Where nobody asked for one and this folder
// takes none, because it is read-only or somebody else's, it is a folder of the user's.
func upStateDir(dir string, environ []string, told io.Writer) (string, error) {
	asked := dir != shell.UpDir
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the state folder: %w", err)
	}
	err = takesState(dir)
	if err == nil || asked || !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		return dir, err
	}
	for _, other := range ownFolders(environ) {
		if takesState(other) == nil {
			fmt.Fprintf(told, "%s cannot be written: the state is in %s\n", dir, other)
			return other, nil
		}
	}
	other, tempErr := ownTemp()
	if tempErr != nil {
		return dir, err
	}
	fmt.Fprintf(told, "%s cannot be written: the state is in %s\n", dir, other)
	return other, os.Chmod(other, 0o711) // sites' own users pass through
}

// takesState makes a state folder where there is none, and looks whether it can be written to.
func takesState(dir string) error {
	if err := statedir.Make(dir); err != nil {
		return err
	}
	probe, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return fmt.Errorf("write to the state folder: %w: give another with --dir", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// ownTemp is this user's folder among the temporary ones, the same at each start, so that its sites are found
// again. One that somebody else has put in its place is not used.
func ownTemp() (string, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("portico-up-%d", os.Getuid()))
	if err := os.Mkdir(dir, 0o711); err == nil || ours(dir) {
		return dir, nil
	}
	return os.MkdirTemp("", "portico-up-")
}

// ownFolders are where the user's programs keep what they need again, see the XDG base directories.
func ownFolders(environ []string) (dirs []string) {
	value := func(name string) string {
		for _, e := range slices.Backward(environ) {
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				return v
			}
		}
		return ""
	}
	if state := value("XDG_STATE_HOME"); filepath.IsAbs(state) {
		dirs = append(dirs, filepath.Join(state, "portico-up"))
	}
	if home := value("HOME"); filepath.IsAbs(home) {
		dirs = append(dirs, filepath.Join(home, ".local", "state", "portico-up"))
	}
	return dirs
}

// provideProgram puts a copy of this program where site processes of any account can run it: "go run" keeps
// the program in a folder of its own user and removes it at the end, a home may be closed to others, and a file
// system may be mounted noexec. What remove takes away is nothing that the next start looks for.
func provideProgram(dir string) (program string, remove func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, fmt.Errorf("find this program: %w", err)
	}
	remove = func() {}
	bin := filepath.Join(dir, "bin")
	program = filepath.Join(bin, programName())
	if err = os.MkdirAll(bin, 0o755); err == nil {
		err = copyProgram(self, program)
	}
	if err != nil {
		return "", nil, fmt.Errorf("provide this program: %w", err)
	}
	if others := os.Geteuid() != 0; runs(program) && (others || open(bin)) {
		return program, remove, nil
	} else if others { // whoever may run this one may run it once more
		return self, remove, nil
	}
	for _, parent := range []string{"/var/lib", os.TempDir()} {
		if !open(parent) {
			continue
		}
		bin, err := os.MkdirTemp(parent, "portico-up-")
		if err != nil {
			continue
		}
		copied := filepath.Join(bin, programName())
		if errors.Join(os.Chmod(bin, 0o755), copyProgram(self, copied)) == nil && runs(copied) {
			return copied, func() { _ = os.RemoveAll(bin) }, nil
		}
		_ = os.RemoveAll(bin)
	}
	return program, remove, nil // its site says what is in the way
}

// open reports whether every account may pass through a folder and those above it.
func open(dir string) bool {
	if runtime.GOOS == "windows" {
		return true
	}
	for ; ; dir = filepath.Dir(dir) {
		if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// runs reports whether the system lets a copy of this program run.
func runs(program string) bool { return exec.Command(program, "version").Run() == nil }

// programName is what the program's file is called.
func programName() string {
	if runtime.GOOS == "windows" {
		return "portico.exe"
	}
	return "portico"
}

func copyProgram(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	temp := to + ".new"
	dst, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if closeErr := dst.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(temp, to)
}
