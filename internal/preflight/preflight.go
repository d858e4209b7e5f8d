// Package preflight looks at what a start needs of this machine, before anything is begun: its state folder, the files that
// are named, its addresses. It makes and changes nothing. What a start refuses is looked for here, and portico
// check calls the same functions: what the one refuses the other does.
package preflight

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"portico/certs"
)

// State looks whether the state folder can be used, and returns whose it is; nil: no member's yet.
func State(dir string) (*certs.Identity, error) {
	if err := checkFolder(dir); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "identity", "key.pem")); err != nil {
		return nil, nil
	}
	return certs.LoadIdentity(filepath.Join(dir, "identity"))
}

// checkFolder looks whether the state folder can be used.
func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkParent(dir)
	case err != nil:
		return fmt.Errorf("state folder: %w: give another with --dir", err)
	case !info.IsDir():
		return fmt.Errorf("state folder: %s is a file: give another with --dir", dir)
	}
	if err := mayWrite(dir); err != nil {
		return fmt.Errorf("state folder %s: %s: run portico as its owner, or give another with --dir", dir, closedTo(dir, err))
	}
	for _, part := range []string{"identity", "agent", "catalog"} {
		if err := checkPart(filepath.Join(dir, part)); err != nil {
			return err
		}
	}
	return nil
}

// checkParent looks whether a folder that is missing can be made.
func checkParent(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	for up := filepath.Dir(abs); ; up = filepath.Dir(up) {
		info, err := os.Stat(up)
		switch {
		case errors.Is(err, fs.ErrNotExist) && up != filepath.Dir(up):
			continue
		case err == nil && !info.IsDir():
			return fmt.Errorf("make the state folder %s: %s is a file: give another with --dir", dir, up)
		case err == nil:
			if err = mayWrite(up); err == nil {
				return nil
			}
			return fmt.Errorf("make the state folder %s: %s: give another with --dir, or make it and give it to the account that portico runs as", dir, closedTo(up, err))
		}
		return fmt.Errorf("make the state folder: %w: give another with --dir", err)
	}
}

// checkPart looks whether a folder of the state folder, if it is there, can be used, and the files in it can be read.
func checkPart(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = mayWrite(dir)
	}
	if err != nil {
		return fmt.Errorf("state folder: %s: run portico as its owner, or chown -R the state folder", closedTo(dir, err))
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // of a moment
		}
		if err != nil {
			return fmt.Errorf("state folder: %s: run portico as its owner, or chown -R the state folder", closedTo(path, err))
		}
		_ = f.Close()
	}
	return nil
}

// closedTo says whose a path is, with which mode, and who was not let in.
func closedTo(path string, err error) string {
	info, statErr := os.Stat(path)
	if statErr != nil || !errors.Is(err, fs.ErrPermission) {
		return fmt.Sprintf("%s: %v", path, bare(err))
	}
	return fmt.Sprintf("%s %shas mode %04o, and is closed to %s", path, ownerOf(info), info.Mode().Perm(), accountName(os.Geteuid()))
}

// bare is an error without the path, which is said before.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func accountName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return "user " + u.Username
	}
	return fmt.Sprintf("user id %d", uid)
}

// Readable opens each file; the keys are the settings that name them.
func Readable(files map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(files)) {
		if files[key] == "" {
			continue
		}
		f, err := os.Open(files[key])
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		_ = f.Close()
	}
	return nil
}
