package agent_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"portico/conf/sites"
	"portico/deployhook/objects"
)

func staticSettings(change func(*sites.Settings)) sites.Settings {
	s := sites.Settings{Kind: sites.KindStatic, Front: sites.Front{Path: "/"}}
	if change != nil {
		change(&s)
	}
	return s.WithDefaults("docs")
}

// TestStaticMoves: a change of the mount path counts for what is being served.
func TestStaticMoves(t *testing.T) {
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	rel := c.release(map[string]string{"index.html": "home", "page.html": "page"})
	c.want(current("docs", rel, staticSettings(nil)))
	inst := c.awaitHealthy(rel)
	client := c.via(a.Addr(), inst.ID+".instance")
	for _, tt := range []struct {
		change func(*sites.Settings)
		path   string
	}{
		{nil, "/page.html"},
		{func(s *sites.Settings) { s.Path = "/manual" }, "/manual/page.html"},
		{func(s *sites.Settings) { s.Path, s.Strip = "/manual", true }, "/page.html"},
	} {
		c.want(current("docs", rel, staticSettings(tt.change)))
		eventually(t, "the page is at "+tt.path, func() bool {
			code, body := getCode(t, client, tt.path)
			return code == http.StatusOK && body == "page"
		})
	}
}

// TestStatic is the table of what the file server answers.
func TestStatic(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	a := c.start(c.options(dir))
	const css = "body { color: teal }\n"
	files := map[string]string{
		"index.html": "<h1>home</h1>", "404.html": "<h1>lost</h1>", "docs/index.html": "<h1>docs</h1>",
		"docs/deep/page.html": "page", "empty/readme.txt": "no index here", "a b+ü.txt": "odd name", "big.bin": strings.Repeat("0123456789", 1000),
		"style.css": css, "style.css.gz": "gzipped", "style.css.br": "brotli", "app.mjs": "export {}", "only.gz": "gz",
		".git/config": "secret", ".env": "secret", "docs/.htpasswd": "secret", "portico.toml": "kind = 'static'",
		".well-known/security.txt": "Contact: x", "image.SVG": "<svg/>", "noext": "?", "uploads/seed.txt": "seed",
	}
	rel := c.release(files)
	c.want(current("docs", rel, staticSettings(func(s *sites.Settings) { s.Data = []string{"uploads"} })))
	inst := c.awaitHealthy(rel)
	if !inst.Unpinned {
		t.Error("a static instance keeps no sessions and must say so")
	}
	client := c.via(a.Addr(), inst.ID+".instance")
	type request struct {
		method, path string
		header       map[string]string
	}
	for _, tt := range []struct {
		request
		code int
		body string
		want map[string]string // answer fields; "-": absent
	}{
		{request{path: "/"}, 200, files["index.html"], map[string]string{"Content-Type": "text/html; charset=utf-8", "Etag": `"` + objects.Sum([]byte(files["index.html"])) + `"`, "Content-Length": "13", "Vary": "-"}},
		{request{path: "/index.html"}, 200, files["index.html"], nil},
		{request{method: "HEAD", path: "/"}, 200, "", map[string]string{"Content-Length": "13"}},
		{request{path: "/docs"}, 301, "", map[string]string{"Location": "./docs/"}},
		{request{path: "/docs?x=1"}, 301, "", map[string]string{"Location": "./docs/?x=1"}},
		{request{path: "//docs"}, 301, "", map[string]string{"Location": "./docs/"}},
		{request{path: "/docs/"}, 200, files["docs/index.html"], nil},
		{request{path: "/docs/deep/page.html"}, 200, "page", nil},
		{request{path: "/docs/deep/page.html/"}, 404, files["404.html"], nil},
		{request{path: "/empty/"}, 404, files["404.html"], map[string]string{"Content-Type": "text/html; charset=utf-8", "Etag": "-"}},
		{request{path: "/nothing"}, 404, files["404.html"], nil},
		{request{path: "/a%20b+%C3%BC.txt"}, 200, "odd name", nil},
		{request{path: "/app.mjs"}, 200, "export {}", map[string]string{"Content-Type": "text/javascript; charset=utf-8", "X-Content-Type-Options": "nosniff"}},
		{request{path: "/image.SVG"}, 200, "<svg/>", map[string]string{"Content-Type": "image/svg+xml"}},
		{request{path: "/noext"}, 200, "?", map[string]string{"Content-Type": "application/octet-stream"}},
		{request{path: "/.git/config"}, 404, files["404.html"], nil},
		{request{path: "/.env"}, 404, files["404.html"], nil},
		{request{path: "/docs/.htpasswd"}, 404, files["404.html"], nil},
		{request{path: "/%2e%67it/config"}, 404, files["404.html"], nil},
		{request{path: "/portico.toml"}, 404, files["404.html"], nil},
		{request{path: "/docs/../portico.toml"}, 404, files["404.html"], nil},
		{request{path: "/..%2f..%2f..%2fstate.json"}, 404, files["404.html"], nil},
		{request{path: "/.well-known/security.txt"}, 200, "Contact: x", nil},
		{request{method: "POST", path: "/"}, 405, "method not allowed\n", map[string]string{"Allow": "GET, HEAD"}},
		{request{path: "/big.bin", header: map[string]string{"Range": "bytes=10-19"}}, 206, "0123456789", map[string]string{"Content-Range": "bytes 10-19/10000", "Content-Length": "10"}},
		{request{path: "/big.bin", header: map[string]string{"Range": "bytes=-5"}}, 206, "56789", nil},
		{request{path: "/big.bin", header: map[string]string{"Range": "bytes=10000-"}}, 416, "", map[string]string{"Content-Range": "bytes */10000"}},
		{request{path: "/big.bin", header: map[string]string{"Range": "bytes=0-1", "If-Range": `"other"`}}, 200, files["big.bin"], nil},
		{request{path: "/style.css"}, 200, css, map[string]string{"Vary": "Accept-Encoding", "Content-Encoding": "-"}},
		{request{path: "/style.css", header: map[string]string{"Accept-Encoding": "gzip"}}, 200, "gzipped", map[string]string{"Vary": "Accept-Encoding", "Content-Encoding": "gzip", "Content-Type": "text/css; charset=utf-8", "Content-Length": "7", "Etag": `"` + objects.Sum([]byte("gzipped")) + `"`}},
		{request{path: "/style.css", header: map[string]string{"Accept-Encoding": "gzip, br;q=0.9"}}, 200, "gzipped", nil},
		{request{path: "/style.css", header: map[string]string{"Accept-Encoding": "gzip, deflate, br, zstd"}}, 200, "brotli", map[string]string{"Content-Encoding": "br"}},
		{request{path: "/style.css", header: map[string]string{"Accept-Encoding": "gzip;q=0, *;q=0.5"}}, 200, "brotli", nil},
		{request{path: "/style.css", header: map[string]string{"Accept-Encoding": "br", "Range": "bytes=0-2"}}, 206, "bro", map[string]string{"Content-Length": "3", "Content-Encoding": "br"}},
		{request{path: "/style.css", header: map[string]string{"Accept-Encoding": "br", "If-None-Match": `"` + objects.Sum([]byte("brotli")) + `"`}}, 304, "", map[string]string{"Content-Length": "-", "Vary": "Accept-Encoding"}},
		{request{path: "/style.css", header: map[string]string{"Accept-Encoding": "br", "If-Match": `"other"`}}, 412, "", nil},
		{request{path: "/", header: map[string]string{"If-None-Match": `"` + objects.Sum([]byte(files["index.html"])) + `"`}}, 304, "", nil},
		{request{path: "/", header: map[string]string{"If-None-Match": `"other"`}}, 200, files["index.html"], nil},
		{request{path: "/only.gz"}, 200, "gz", map[string]string{"Content-Type": "application/gzip", "Content-Encoding": "-"}},
		{request{path: "/uploads/seed.txt"}, 200, "seed", map[string]string{"Cache-Control": "no-cache"}},
		{request{path: "/uploads/../../../agent/state.json"}, 404, files["404.html"], nil},
		{request{path: "/uploads/outside"}, 404, files["404.html"], nil},
	} {
		t.Run(tt.method+tt.path+fmt.Sprint(tt.header), func(t *testing.T) {
			method := tt.method
			if method == "" {
				method = http.MethodGet
			}
			req, err := http.NewRequest(method, "https://docs.example"+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept-Encoding", "identity")
			for k, v := range tt.header {
				req.Header.Set(k, v)
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != tt.code || tt.code != 416 && string(b) != tt.body {
				t.Errorf("%d %.60q, want %d %.60q", res.StatusCode, b, tt.code, tt.body)
			}
			for k, v := range tt.want {
				if got := res.Header.Get(k); got != v && !(v == "-" && got == "") {
					t.Errorf("%s is %q, want %q", k, got, v)
				}
			}
		})
	}
	t.Run("link out of a data folder", func(t *testing.T) {
		link := filepath.Join(dir, "sites", "docs", "data", "uploads", "outside")
		if err := os.Symlink(filepath.Join(dir, "agent", "state.json"), link); err != nil {
			t.Skip(err)
		}
		if code, _ := getCode(t, client, "/uploads/outside"); code != 404 {
			t.Errorf("a link leads out of the data folder: %d", code)
		}
	})
}

// TestStaticMount: a site at a path serves its files there, one with a public
// folder only those in it.
func TestStaticMount(t *testing.T) {
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	rel := c.release(map[string]string{"dist/index.html": "built", "dist/x/y.txt": "y", "src/main.ts": "source"})
	c.want(current("docs", rel, staticSettings(func(s *sites.Settings) { s.Path, s.Public = "/manual", "./dist" })))
	client := c.via(a.Addr(), c.awaitHealthy(rel).ID+".instance")
	for path, want := range map[string]string{"/manual/": "built", "/manual/x/y.txt": "y", "/manual/index.html": "built"} {
		if got := get(t, client, path); got != want {
			t.Errorf("GET %s: %q", path, got)
		}
	}
	for path, want := range map[string]int{"/": 404, "/x/y.txt": 404, "/manual/src/main.ts": 404, "/manualx/": 404, "/manual": 301} {
		if code, body := getCode(t, client, path); code != want {
			t.Errorf("GET %s: %d %s, want %d", path, code, body, want)
		}
	}
}

// TestStaticMany: thousands of files are served, and a second release fetches
// only what is new.
func TestStaticMany(t *testing.T) {
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	files := map[string]string{"index.html": "home"}
	for i := range 5000 {
		files[fmt.Sprintf("d%02d/f%04d.txt", i%50, i)] = "file " + strconv.Itoa(i)
	}
	rel := c.release(files)
	c.want(current("docs", rel, staticSettings(nil)))
	client := c.via(a.Addr(), c.awaitHealthy(rel).ID+".instance")
	for i := 0; i < 5000; i += 499 {
		if got := get(t, client, fmt.Sprintf("/d%02d/f%04d.txt", i%50, i)); got != "file "+strconv.Itoa(i) {
			t.Errorf("file %d is %q", i, got)
		}
	}
	files["index.html"] = "new home"
	next := c.release(files)
	c.want(current("docs", rel, staticSettings(nil)), candidate("docs", next, staticSettings(nil), "d1"))
	inst := c.awaitHealthy(next)
	if got := get(t, c.via(a.Addr(), inst.ID+".instance"), "/"); got != "new home" {
		t.Errorf("the new release says %q", got)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.reports {
		for _, i := range r.Instances {
			if i.Release == next && i.Progress.Total > 100 {
				t.Fatalf("%d bytes were to be fetched for one small file", i.Progress.Total)
			}
		}
	}
}
