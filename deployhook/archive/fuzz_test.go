package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"portico/deployhook/archive"
)

// checkRead reads b and holds the outcome to what Read promises: no panic, no
// unsafe path, no more than the limits, and every error a refusal.
func checkRead(t *testing.T, b []byte) {
	limits := archive.Limits{Entries: 50, File: 1 << 20, Total: 2 << 20, Path: 200}
	var total int64
	seen := map[string]bool{}
	info, err := archive.Read(context.Background(), bytes.NewReader(b), int64(len(b)), limits, func(f archive.File, r io.Reader) error {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) || path.Clean(f.Path) != f.Path || strings.ContainsAny(f.Path, "\\\x00\n:") {
			t.Errorf("unsafe path %q", f.Path)
		}
		if key := strings.ToLower(f.Path); seen[key] {
			t.Errorf("path %q came twice", f.Path)
		} else {
			seen[key] = true
		}
		n, err := io.Copy(io.Discard, r)
		if total += n; n > limits.File || total > limits.Total {
			t.Errorf("%d bytes of one file, %d in all", n, total)
		}
		return err
	})
	var refused *archive.RefusedError
	if err != nil && !errors.As(err, &refused) {
		t.Errorf("the error is no refusal: %v", err)
	}
	if err == nil && (info.Files != len(seen) || info.Size != total) {
		t.Errorf("info is %+v, seen were %d files and %d bytes", info, len(seen), total)
	}
}

func FuzzZip(f *testing.F) {
	f.Add(zipOf(f, entry{name: "a/b", body: "content"}, entry{name: "run", body: "x", mode: 0o755}))
	f.Add(zipOf(f, entry{name: "../x"}))
	f.Add(zipOf(f, entry{name: "l", body: "/etc", mode: fs.ModeSymlink | 0o777}))
	f.Add(zipOf(f, entry{name: "WEB-INF/web.xml", body: "<x/>"}))
	f.Add(zipStored(f, "one", "content"))
	f.Add(overlapping(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		checkRead(t, append([]byte("PK\x03\x04"), bytes.TrimPrefix(b, []byte("PK\x03\x04"))...))
	})
}

func FuzzTar(f *testing.F) {
	f.Add(tarOf(f, entry{name: "a/b", body: "content"}, entry{tar: &tar.Header{Name: "run", Mode: 0o755}, body: "x"}))
	f.Add(tarOf(f, entry{name: "../x"}))
	f.Add(tarOf(f, entry{tar: &tar.Header{Name: strings.Repeat("long/", 30) + "ü", Mode: 0o644}, body: "x"}))
	f.Add(tarOf(f, entry{tar: &tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "x"}}))
	f.Add(sparseTar(f))
	f.Fuzz(checkRead)
}

func FuzzTarGzip(f *testing.F) {
	f.Add(gz(f, tarOf(f, entry{name: "a", body: "content"})))
	f.Add(gz(f, []byte("not a tar")))
	f.Fuzz(checkRead)
}

func FuzzTarZstd(f *testing.F) {
	f.Add(zst(f, tarOf(f, entry{name: "a", body: "content"})))
	f.Add(zst(f, []byte("not a tar")))
	f.Fuzz(checkRead)
}

func FuzzPath(f *testing.F) {
	for name := range badNames {
		f.Add(name)
	}
	f.Add("good/path.txt")
	f.Fuzz(func(t *testing.T, name string) {
		if (archive.Limits{}).CheckPath(name) != nil {
			return
		}
		if !filepath.IsLocal(filepath.FromSlash(name)) || path.Clean(name) != name || !fs.ValidPath(name) {
			t.Errorf("%q was taken", name)
		}
	})
}

func FuzzExclude(f *testing.F) {
	f.Add("**/a*/[b]", "x/a/b")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		x, err := archive.NewExclude([]string{pattern})
		if err != nil || len(pattern) > 64 || len(name) > 64 {
			return
		}
		if x.Match(name, false) && !x.Match(name+"/below", false) && !strings.Contains(pattern, "**") && name != "" {
			t.Errorf("%q excludes %q and not what lies in it", pattern, name)
		}
	})
}
