package beneath_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"portico/deployhook/agent/beneath"
)

func open(t *testing.T, dir string) *beneath.Dir {
	t.Helper()
	d, err := beneath.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		if runtime.GOOS == "windows" {
			t.Skip("this account may not make links, and without them nothing leads out: ", err)
		}
		t.Fatal(err)
	}
}

// A folder is found by names that are folders, a file by links that stay inside.
func TestFolders(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "file"), "not yours")
	write(t, filepath.Join(dir, "a", "b", "file"), "yours")
	d := open(t, dir)
	link(t, outside, filepath.Join(dir, "out"))
	link(t, "a", filepath.Join(dir, "in"))
	link(t, filepath.Join("..", filepath.Base(outside)), filepath.Join(dir, "up"))
	for name, want := range map[string]error{
		"a": nil, "a/b": nil, ".": nil, "in": beneath.ErrLink, "in/b": beneath.ErrLink, "out": beneath.ErrLink, "up": beneath.ErrLink, "nothing": fs.ErrNotExist,
	} {
		sub, err := d.Dir(name)
		if !errors.Is(err, want) || err != nil && want == nil {
			t.Errorf("folder %s: %v, want %v", name, err, want)
		}
		if err == nil {
			_ = sub.Close()
		}
	}
	for _, name := range []string{"..", "../" + filepath.Base(outside), "", "a/b/file", "/", outside} {
		if sub, err := d.Dir(name); err == nil {
			_ = sub.Close()
			t.Errorf("folder %q is opened", name)
		}
	}
	for name, want := range map[string]string{"a/b/file": "yours", "in/b/file": "yours", "out/file": "", "up/file": "", "a": "", "../x": ""} {
		f, _, err := d.File(name)
		if want == "" {
			if err == nil {
				_ = f.Close()
				t.Errorf("file %s is opened", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("file %s: %v", name, err)
			continue
		}
		if b, err := io.ReadAll(f); err != nil || string(b) != want {
			t.Errorf("file %s: %q, %v", name, b, err)
		}
		_ = f.Close()
	}
	if sub, err := d.Make("out", 0o700); err == nil {
		_ = sub.Close()
		t.Error("a link passes for a folder that is there")
	}
}

// What is removed is what lies there, never what links lead to.
func TestRemoveAll(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "file"), "not yours")
	d := open(t, dir)
	write(t, filepath.Join(dir, "x", "deep", "file"), "")
	write(t, filepath.Join(dir, "kept", "file"), "")
	for i := range 1500 { // more than are read at a time
		write(t, filepath.Join(dir, "x", "many", strings.Repeat("n", 1+i%200)+string(rune('a'+i/200))), "")
	}
	link(t, outside, filepath.Join(dir, "x", "out"))
	link(t, "../kept", filepath.Join(dir, "x", "kept"))
	link(t, outside, filepath.Join(dir, "link"))
	if err := os.Chmod(filepath.Join(dir, "x", "deep"), 0); err != nil { // its owner may have closed it
		t.Fatal(err)
	}
	for _, name := range []string{"x", "link", "nothing"} {
		if err := d.RemoveAll(name); err != nil {
			t.Errorf("remove %s: %v", name, err)
		}
	}
	if names, err := d.Names(); err != nil || len(names) != 1 || names[0] != "kept" {
		t.Errorf("%q are left, %v", names, err)
	}
	for _, name := range []string{filepath.Join(outside, "file"), filepath.Join(dir, "kept", "file")} {
		if _, err := os.Lstat(name); err != nil {
			t.Error(err)
		}
	}
}

func TestGiveAwayKeepsOwner(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a", "file"), "")
	write(t, filepath.Join(dir, "a", "program"), "")
	if err := os.Chmod(filepath.Join(dir, "a", "program"), 0o555); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).GiveAway(-1, -1); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		return // modes say nothing there
	}
	for name, want := range map[string]fs.FileMode{"a": fs.ModeDir | 0o700, "a/file": 0o600, "a/program": 0o700} {
		if fi, err := os.Lstat(filepath.Join(dir, name)); err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, fi.Mode(), err, want)
		}
	}
}
