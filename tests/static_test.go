package tests

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

const (
	largeDocs  = "/usr/share/doc/openjdk-17-doc"
	enoughDocs = 5500
)

// The documentation of the distribution's Java, more than five thousand files, as a
// static site: ranges, ETags, and a second deploy that ships what changed.
func TestLargeStaticSite(t *testing.T) {
	t.Parallel()
	harness.Need(t, largeDocs+"/api/index.html")
	dir := filepath.Join(t.TempDir(), "docs")
	files := copyDocs(t, filepath.Join(largeDocs, "api"), dir)
	if files < 5000 {
		t.Fatalf("the documentation has only %d files", files)
	}
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.AddServer("server-2")
	start := time.Now()
	p.Must("deploy", "docs", dir, "--host", "docs.test")
	t.Logf("%d files on two servers in %v", files, time.Since(start).Round(time.Millisecond))

	v := harness.NewVisitor(t, p.HTTP, "docs.test")
	resp, whole, err := visitOK(v, "/index.html")
	if err != nil {
		t.Fatal(err)
	}
	etag := resp.Header.Get("ETag")
	if etag == "" || strings.HasPrefix(etag, "W/") {
		t.Errorf("ETag %q is not a strong one", etag)
	}
	if got := conditional(t, v, "/index.html", "If-None-Match", etag); got.StatusCode != http.StatusNotModified {
		t.Errorf("If-None-Match answers %s", got.Status)
	}
	got := conditional(t, v, "/index.html", "Range", "bytes=10-19")
	if got.StatusCode != http.StatusPartialContent || got.Header.Get("Content-Range") != "bytes 10-19/"+strconv.Itoa(len(whole)) {
		t.Errorf("a range answers %s %q", got.Status, got.Header.Get("Content-Range"))
	}
	for range 20 { // whichever server answers
		other := harness.NewVisitor(t, p.HTTP, "docs.test")
		if resp, _, err := visitOK(other, "/index.html"); err != nil || resp.Header.Get("ETag") != etag {
			t.Fatalf("another server answers %v with ETag %q, want %q", err, resp.Header.Get("ETag"), etag)
		}
	}

	for i := range 10 {
		name := filepath.Join(dir, "changed-"+strconv.Itoa(i)+".html")
		if err := os.WriteFile(name, []byte("<p>"+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	start = time.Now()
	p.Must("deploy", "docs", dir, "--host", "docs.test")
	t.Logf("with ten changed files in %v", time.Since(start).Round(time.Millisecond))
	fresh := harness.NewVisitor(t, p.HTTP, "docs.test")
	if _, _, err := visitOK(fresh, "/changed-7.html"); err != nil {
		t.Error(err)
	}
}

func conditional(t *testing.T, v *harness.Visitor, path, name, value string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+v.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(name, value)
	resp, err := v.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp
}

// copyDocs copies the regular files below from (the package links some of its
// files elsewhere) and returns how many there are.
func copyDocs(t *testing.T, from, to string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(real(t, from), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if n == enoughDocs {
			return filepath.SkipAll
		}
		rel, err := filepath.Rel(real(t, from), path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(to, filepath.Dir(rel)), 0o755); err != nil {
			return err
		}
		copyFile(t, path, filepath.Join(to, rel))
		n++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// real returns where a folder that may be a link really is.
func real(t *testing.T, path string) string {
	t.Helper()
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}
