package objects_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"portico/deployhook/objects"
)

func TestAssemble(t *testing.T) {
	s := open(t)
	tree := release(t, s, 200, "")
	tree.Files[0].Exec = true
	dir := filepath.Join(t.TempDir(), "site", "release")
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	finished := false
	err := assemble(t.Context(), t, s, tree, dir, objects.Assembly{Finish: func(root *os.Root) error {
		finished = true
		if _, err := os.Lstat(dir); err == nil {
			t.Error("the release can be seen before it is whole")
		}
		return root.Mkdir("uploads", 0o755)
	}})
	if err != nil || !finished {
		t.Fatal(err, finished)
	}
	seen := map[string]bool{}
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		at := slices.IndexFunc(tree.Files, func(f objects.File) bool { return f.Path == filepath.ToSlash(rel) })
		if at < 0 {
			t.Fatalf("%s is not in the tree", rel)
		}
		f := tree.Files[at]
		b, err := os.ReadFile(name)
		if err != nil || objects.Sum(b) != f.Digest {
			t.Errorf("%s: %v", rel, err)
		}
		fi, err := d.Info()
		want := fs.FileMode(0o444)
		if f.Exec {
			want = 0o555
		}
		if runtime.GOOS != "windows" && (err != nil || fi.Mode() != want) {
			t.Errorf("%s has mode %v, want %v", rel, fi.Mode(), want)
		}
		seen[f.Path] = true
		return nil
	})
	if err != nil || len(seen) != len(tree.Files) {
		t.Errorf("%d of %d files are there, %v", len(seen), len(tree.Files), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "uploads")); err != nil {
		t.Error(err)
	}
	if err := assemble(t.Context(), t, s, tree, dir, objects.Assembly{Finish: func(*os.Root) error { t.Error("a release that is there was made again"); return nil }}); err != nil {
		t.Error(err)
	}

	// A process that writes into its release must not reach the object.
	name := filepath.Join(dir, tree.Files[1].Path)
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("defaced"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadAll(tree.Files[1].Digest, 1<<30); err != nil {
		t.Errorf("writing into a release reached the object: %v", err)
	}
}

func TestAssembleRefuses(t *testing.T) {
	s := open(t)
	base := t.TempDir()
	dir := filepath.Join(base, "release")
	gone := func(what string) {
		t.Helper()
		list, err := os.ReadDir(base)
		if err != nil || len(list) != 0 {
			t.Errorf("%s: %v is left, %v", what, list, err)
		}
	}
	tree := release(t, s, 50, "")
	damage(t, s, tree.Files[20].Digest)
	if err := assemble(t.Context(), t, s, tree, dir, objects.Assembly{}); !errors.Is(err, objects.ErrCorrupt) {
		t.Errorf("a damaged object gave %v", err)
	}
	gone("damaged")
	if err := assemble(t.Context(), t, s, tree, dir, objects.Assembly{}); !errors.Is(err, objects.ErrNotFound) {
		t.Errorf("after that, %v; want not found, so that it is fetched again", err)
	}
	gone("missing")
	good := release(t, s, 50, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := assemble(ctx, t, s, good, dir, objects.Assembly{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled assembly gave %v", err)
	}
	gone("cancelled")
	mine := errors.New("mine")
	if err := assemble(t.Context(), t, s, good, dir, objects.Assembly{Finish: func(*os.Root) error { return mine }}); !errors.Is(err, mine) {
		t.Errorf("the error of finish became %v", err)
	}
	gone("finish")
	// A tree that nobody checked cannot leave its folder.
	digest := put(t, s, "x")
	for _, path := range []string{"../evil", "a/../../evil", "/evil"} {
		if err := assemble(t.Context(), t, s, objects.Tree{Files: []objects.File{{Path: path, Size: 1, Digest: digest}}}, dir, objects.Assembly{}); err == nil {
			t.Errorf("%q was assembled", path)
		}
	}
	gone("evil")
	// What a killed process left is no obstacle.
	if err := os.MkdirAll(filepath.Join(dir+objects.TempSuffix, "half"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := assemble(t.Context(), t, s, good, dir, objects.Assembly{}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "half")); err == nil {
		t.Error("the remains of a killed process are in the release")
	}
}

// A release that only the agent opens shares its files with the store, and is
// looked at no less closely.
func TestAssembleLinks(t *testing.T) {
	s := open(t)
	tree := release(t, s, 20, "")
	dir := filepath.Join(t.TempDir(), "release")
	if err := assemble(t.Context(), t, s, tree, dir, objects.Assembly{Link: true}); err != nil {
		t.Fatal(err)
	}
	for _, f := range tree.Files {
		placed, err := os.Stat(filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil {
			t.Fatal(err)
		}
		object, err := os.Stat(s.Path(f.Digest))
		if err != nil {
			t.Fatal(err)
		}
		if !os.SameFile(placed, object) {
			t.Errorf("%s is a copy", f.Path)
		}
	}
	damage(t, s, tree.Files[7].Digest)
	if err := assemble(t.Context(), t, s, tree, dir+"2", objects.Assembly{Link: true}); !errors.Is(err, objects.ErrCorrupt) {
		t.Errorf("a damaged object became part of a release: %v", err)
	}
}

// assemble opens the folder above dir and makes dir in it.
func assemble(ctx context.Context, t *testing.T, s *objects.Store, tree objects.Tree, dir string, o objects.Assembly) error {
	t.Helper()
	in, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	return s.Assemble(ctx, tree, in, filepath.Base(dir), o)
}
