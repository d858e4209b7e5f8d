package archive_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"portico/deployhook/archive"
)

// plant writes files below a new folder; a name that ends with "*" is executable.
func plant(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, body := range files {
		mode := os.FileMode(0o644)
		if strings.HasSuffix(name, "*") {
			name, mode = strings.TrimSuffix(name, "*"), 0o755
		}
		full := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(body), mode); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestPackAndRead(t *testing.T) {
	files := map[string]string{
		"portico.toml": "", "run*": "#!/bin/sh", "public/index.html": "<p>", "public/a b/ü.txt": "text",
		"big.bin": strings.Repeat("0123456789abcdef", 40_000),
	}
	kept := maps.Clone(files)
	for _, noise := range []string{".git/config", "sub/.git/HEAD", "x.log", "public/deep/y.log", "node_modules/m/i.js", "build/tmp/z", "public/.DS_Store"} {
		files[noise] = "noise"
	}
	files["keep/build/tmp/z"] = "kept: the pattern is anchored"
	kept["keep/build/tmp/z"] = files["keep/build/tmp/z"]
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no executable bit to keep")
	}
	root := plant(t, files)
	for _, format := range []archive.Format{archive.Zip, archive.Tar, archive.TarGzip, archive.TarZstd} {
		f, err := archive.OpenFolder(root, []string{"*.log", "node_modules/", "/build/tmp"}, archive.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var first, second bytes.Buffer
		var last int64
		if err := f.Write(context.Background(), &first, format, func(done int64) {
			if done < last {
				t.Errorf("progress went back from %d to %d", last, done)
			}
			last = done
		}); err != nil {
			t.Fatal(err)
		}
		if last != f.Size {
			t.Errorf("%s: progress ended at %d of %d", format, last, f.Size)
		}
		if err := f.Write(context.Background(), &second, format, nil); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("%s: the same folder gave two archives", format)
		}
		got, info, err := read(first.Bytes(), archive.Limits{})
		if err != nil || info.Format != format {
			t.Fatalf("%s: %+v, %v", format, info, err)
		}
		if !maps.Equal(got, kept) {
			t.Errorf("%s: the archive has %v, want %v", format, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(kept)))
		}
	}
}

func TestOpenFolderMistakes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links and these names need a Unix file system")
	}
	root := plant(t, map[string]string{"ok": "1", "sub/target": "2", "CON": "3", "Img/a": "4", "img/b": "5", "back\\slash": "6"})
	for link, target := range map[string]string{
		"inside": "sub/target", "outside": "/etc/hostname", "up": "../x", "dangling": "nowhere", "folder": "sub",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := archive.OpenFolder(root, nil, archive.Limits{})
	if err == nil {
		t.Fatal("a folder full of mistakes was taken")
	}
	for _, want := range []string{`"outside" is a link that leaves`, `"up" is a link to nothing`, `"dangling" is a link to nothing`, `"folder" is a link to a folder`, `"CON"`, `case only`, `backslash`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	f, err := archive.OpenFolder(root, []string{"outside", "up", "dangling", "folder", "CON", "Img", "back*"}, archive.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(context.Background(), &b, archive.TarZstd, nil); err != nil {
		t.Fatal(err)
	}
	got, _, err := read(b.Bytes(), archive.Limits{})
	if err != nil || got["inside"] != "2" {
		t.Errorf("a link to a file inside became %q, %v", got["inside"], err)
	}
}

func TestOpenFolderLimitsAndChange(t *testing.T) {
	root := plant(t, map[string]string{"a": "12345", "b": "12345"})
	for what, limits := range map[string]archive.Limits{"entries": {Entries: 1}, "file": {File: 4}, "total": {Total: 9}} {
		if _, err := archive.OpenFolder(root, nil, limits); err == nil {
			t.Errorf("%s: the folder was taken over its limit", what)
		}
	}
	if _, err := archive.OpenFolder(root, []string{"[", "x"}, archive.Limits{}); err == nil {
		t.Error("a broken pattern was taken")
	}
	if _, err := archive.OpenFolder(filepath.Join(root, "a"), nil, archive.Limits{}); err == nil {
		t.Error("a file was taken for a folder")
	}
	f, err := archive.OpenFolder(root, nil, archive.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"1234567", "1"} {
		if err := os.WriteFile(filepath.Join(root, "b"), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := f.Write(context.Background(), &bytes.Buffer{}, archive.Tar, nil); err == nil {
			t.Errorf("a file that became %q while packing went unseen", body)
		}
	}
}

func TestExclude(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		folder, want  bool
	}{
		{"*.log", "a.log", false, true},
		{"*.log", "x/y/a.log", false, true},
		{"*.log", "a.log.txt", false, false},
		{"tmp", "x/tmp/file", false, true},
		{"tmp/", "tmp", false, false},
		{"tmp/", "tmp", true, true},
		{"tmp/", "x/tmp/file", false, true},
		{"/tmp", "x/tmp", true, false},
		{"a/b", "a/b/c", false, true},
		{"a/b", "x/a/b", false, false},
		{"docs/**/*.psd", "docs/a/b/c.psd", false, true},
		{"docs/**/*.psd", "docs/c.psd", false, true},
		{"docs/**/*.psd", "docs/c.png", false, false},
		{"**/cache", "a/b/cache/f", false, true},
		{"[ab]?", "x/a1", false, true},
	} {
		x, err := archive.NewExclude([]string{c.pattern})
		if err != nil {
			t.Fatal(err)
		}
		if got := x.Match(c.path, c.folder); got != c.want {
			t.Errorf("%q matches %q (folder %v): %v", c.pattern, c.path, c.folder, got)
		}
	}
	for _, bad := range []string{"", "[", "../x", "a//b", "/"} {
		if _, err := archive.NewExclude([]string{bad}); err == nil {
			t.Errorf("pattern %q was taken", bad)
		}
	}
}

func ExampleOpenFolder() {
	root, _ := os.MkdirTemp("", "site")
	defer os.RemoveAll(root)
	_ = os.WriteFile(filepath.Join(root, "index.html"), []byte("<p>hello"), 0o644)
	_ = os.WriteFile(filepath.Join(root, "debug.log"), []byte("…"), 0o644)

	folder, err := archive.OpenFolder(root, []string{"*.log"}, archive.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range folder.Files {
		fmt.Println(f.Path, f.Size)
	}
	// Output: index.html 8
}
