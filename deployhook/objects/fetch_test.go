package objects_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/deployhook/archive"
	"portico/deployhook/objects"
)

// peer is another member's store behind a real server; wrap may misbehave.
func peer(t testing.TB, name string, s *objects.Store, wrap func(http.Handler) http.Handler) (objects.Source, *traffic) {
	t.Helper()
	n := &traffic{}
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.Serve(w, r, nil) })
	if wrap != nil {
		h = wrap(h)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.requests.Add(1)
		h.ServeHTTP(&countedWriter{w, n}, r)
	}))
	client := srv.Client()
	t.Cleanup(func() { client.CloseIdleConnections(); srv.Close() })
	return objects.Source{Name: name, URL: srv.URL, Client: client}, n
}

type traffic struct{ requests, bytes atomic.Int64 }

type countedWriter struct {
	http.ResponseWriter
	n *traffic
}

func (c *countedWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.bytes.Add(int64(n))
	return n, err
}

func (c *countedWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// release puts n small files and one large file into s and returns their tree.
func release(t testing.TB, s *objects.Store, n int, salt string) objects.Tree {
	t.Helper()
	b := s.NewBatch()
	defer b.Close()
	var files []objects.File
	add := func(path, body string) {
		digest, size, err := b.Add(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, objects.File{Path: path, Size: size, Digest: digest})
	}
	for i := range n {
		body := fmt.Sprintf("file %d", i)
		if i < 10 {
			body += salt
		}
		add(fmt.Sprintf("d%02d/f%05d", i%20, i), body)
	}
	add("large.bin", large())
	add("empty", "")
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	tree, err := objects.NewTree(files, archive.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutTree(tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

// large is a megabyte that does not repeat.
var large = sync.OnceValue(func() string {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return string(b)
})

func wantAll(t testing.TB, s *objects.Store, tree objects.Tree) {
	t.Helper()
	for _, f := range tree.Files {
		if _, err := s.ReadAll(f.Digest, 1<<30); err != nil {
			t.Fatalf("%s: %v", f.Path, err)
		}
	}
	if left := leftovers(t, s); len(left) != 0 {
		t.Errorf("%d temporary files are left", len(left))
	}
}

func TestFetchRelease(t *testing.T) {
	from, to := open(t), open(t)
	tree := release(t, from, 10_000, "")
	src, n := peer(t, "web1", from, nil)
	f := &objects.Fetcher{Store: to, Sources: []objects.Source{src}}
	var last, total int64
	begin := time.Now()
	got, err := f.Release(t.Context(), tree.Digest(), func(done, of int64) {
		if done < last || of < done {
			t.Errorf("progress went from %d to %d of %d", last, done, of)
		}
		last, total = done, of
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("10,000 files in %v with %d requests", time.Since(begin), n.requests.Load())
	if got.Digest() != tree.Digest() || last != total || total != tree.Size() {
		t.Errorf("got %s; progress ended at %d of %d, the release has %d bytes", got.Digest(), last, total, tree.Size())
	}
	if r := n.requests.Load(); r > 10 {
		t.Errorf("%d requests for 10,000 small files: they should travel together", r)
	}
	wantAll(t, to, tree)

	// The second release shares all but ten files and ships only those.
	second := release(t, from, 10_000, " changed")
	n.requests.Store(0)
	n.bytes.Store(0)
	var shipped int64
	if _, err := f.Release(t.Context(), second.Digest(), func(_, of int64) { shipped = of }); err != nil {
		t.Fatal(err)
	}
	var changed int64
	old := map[string]bool{}
	for _, f := range tree.Files {
		old[f.Digest] = true
	}
	count := 0
	for _, f := range second.Files {
		if !old[f.Digest] {
			count++
			changed += f.Size
		}
	}
	if count != 10 || shipped != changed {
		t.Errorf("%d files changed with %d bytes, %d bytes were fetched", count, changed, shipped)
	}
	if most := int64(len(second.Encode())) + changed + 10*8 + 100; n.bytes.Load() > most || n.requests.Load() != 2 {
		t.Errorf("%d bytes in %d requests travelled for ten changed files, want at most %d in 2", n.bytes.Load(), n.requests.Load(), most)
	}
	wantAll(t, to, second)
	n.requests.Store(0)
	if _, err := f.Release(t.Context(), second.Digest(), nil); err != nil || n.requests.Load() != 0 {
		t.Errorf("fetching what is there took %d requests, %v", n.requests.Load(), err)
	}
}

// cutter breaks off each answer to GET after a number of bytes.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

func (c *cutter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func TestFetchResumes(t *testing.T) {
	from, to := open(t), open(t)
	tree := release(t, from, 5, "")
	var ranges []string
	var mu sync.Mutex
	flaky, n := peer(t, "flaky", from, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/"+objects.Sum([]byte(large()))) {
				mu.Lock()
				ranges = append(ranges, r.Header.Get("Range"))
				mu.Unlock()
				w = &cutter{w, 300_000}
			}
			h.ServeHTTP(w, r)
		})
	})
	f := &objects.Fetcher{Store: to, Sources: []objects.Source{flaky}, Rounds: 6}
	if _, err := f.Release(t.Context(), tree.Digest(), nil); err != nil {
		t.Fatal(err)
	}
	wantAll(t, to, tree)
	mu.Lock()
	defer mu.Unlock()
	if len(ranges) != 4 || ranges[0] != "" || !strings.HasPrefix(ranges[1], "bytes=") || ranges[1] == ranges[2] {
		t.Errorf("the ranges asked for are %q: each should begin where the last broke off", ranges)
	}
	if most := int64(tree.Size()) + 64<<10 + int64(len(tree.Encode())); n.bytes.Load() > most {
		t.Errorf("%d bytes travelled, %d would have done", n.bytes.Load(), most)
	}
}

func TestFetchTurnsToTheNextSource(t *testing.T) {
	from, partial := open(t), open(t)
	tree := release(t, from, 300, "")
	put(t, partial, "file 1")
	for what, wrap := range map[string]func(http.Handler) http.Handler{
		"404": func(http.Handler) http.Handler { return http.NotFoundHandler() },
		"500": func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 500) })
		},
		"abort": func(http.Handler) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		},
		"other content": func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(&flipper{w, 0}, r) })
		},
		"endless": func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			})
		},
		"wrong range": func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					w.Header().Set("Content-Range", "bytes 5-9/10")
					w.WriteHeader(http.StatusPartialContent)
					return
				}
				h.ServeHTTP(w, r)
			})
		},
	} {
		t.Run(what, func(t *testing.T) {
			bad, _ := peer(t, "bad", from, wrap)
			some, _ := peer(t, "some", partial, nil)
			good, _ := peer(t, "good", from, nil)
			gone := objects.Source{Name: "gone", URL: "http://127.0.0.1:1", Client: bad.Client}
			to := open(t)
			f := &objects.Fetcher{Store: to, Sources: []objects.Source{bad, gone, some, good}, Stall: 10 * time.Second}
			if _, err := f.Release(t.Context(), tree.Digest(), nil); err != nil {
				t.Fatal(err)
			}
			wantAll(t, to, tree)
		})
	}
}

// flipper changes one byte in each answer.
type flipper struct {
	http.ResponseWriter
	n int
}

func (f *flipper) Write(p []byte) (int, error) {
	if f.n <= 12 && f.n+len(p) > 12 {
		p = append([]byte(nil), p...)
		p[12-f.n] ^= 0x20
	}
	f.n += len(p)
	return f.ResponseWriter.Write(p)
}

func (f *flipper) Unwrap() http.ResponseWriter { return f.ResponseWriter }

func TestFetchFails(t *testing.T) {
	from, to := open(t), open(t)
	tree := release(t, from, 3, "")
	f := &objects.Fetcher{Store: to}
	if _, err := f.Release(t.Context(), tree.Digest(), nil); err == nil || !strings.Contains(err.Error(), "no other member") {
		t.Errorf("without sources: %v", err)
	}
	if err := from.Remove(objects.Sum([]byte(large()))); err != nil {
		t.Fatal(err)
	}
	src, _ := peer(t, "web1", from, nil)
	f.Sources = []objects.Source{src}
	_, err := f.Release(t.Context(), tree.Digest(), nil)
	if !errors.Is(err, objects.ErrNotFound) || !strings.Contains(err.Error(), "web1") || !strings.Contains(err.Error(), "large.bin") {
		t.Errorf("a lost object gave %v; it should name the file and the member", err)
	}
	if _, err := f.Release(t.Context(), "nonsense", nil); err == nil {
		t.Error("nonsense was fetched")
	}
	if len(leftovers(t, to)) != 0 {
		t.Error("temporary files are left")
	}
}

func TestFetchLeavesASilentSource(t *testing.T) {
	from, to := open(t), open(t)
	tree := release(t, from, 3, "")
	release := make(chan struct{})
	silent, _ := peer(t, "silent", from, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-release:
			}
		})
	})
	defer close(release)
	f := &objects.Fetcher{Store: to, Sources: []objects.Source{silent}, Stall: 50 * time.Millisecond, Rounds: 1}
	if _, err := f.Release(t.Context(), tree.Digest(), nil); err == nil || !strings.Contains(err.Error(), "nothing any more") {
		t.Errorf("a silent source gave %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Release(ctx, tree.Digest(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled fetch gave %v", err)
	}
}

func TestHandler(t *testing.T) {
	s := open(t)
	digest := put(t, s, "0123456789")
	src, _ := peer(t, "web1", s, nil)
	do := func(method, path, body string, header ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, src.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := src.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(b)
	}
	path := "/v1/objects/" + digest
	if res, body := do("GET", path, ""); res.StatusCode != 200 || body != "0123456789" || res.Header.Get("ETag") != `"`+digest+`"` {
		t.Errorf("GET: %s %q", res.Status, body)
	}
	if res, body := do("HEAD", path, ""); res.StatusCode != 200 || body != "" || res.ContentLength != 10 {
		t.Errorf("HEAD: %s %q %d", res.Status, body, res.ContentLength)
	}
	if res, body := do("GET", path, "", "Range", "bytes=4-"); res.StatusCode != 206 || body != "456789" || res.Header.Get("Content-Range") != "bytes 4-9/10" {
		t.Errorf("a range: %s %q", res.Status, body)
	}
	if res, _ := do("GET", path, "", "Range", "bytes=99-"); res.StatusCode != 416 {
		t.Errorf("a range behind the end: %s", res.Status)
	}
	for bad, code := range map[string]int{
		"/v1/objects/" + strings.Repeat("a", 64): 404, "/v1/objects/short": 400, "/v1/objects/..%2f..%2fetc%2fpasswd": 400, "/v1/objects/": 404, "/etc/passwd": 404,
	} {
		if res, body := do("GET", bad, ""); res.StatusCode != code || strings.Contains(body, s.Dir()) {
			t.Errorf("GET %s: %s %q, want %d and no path of this machine", bad, res.Status, body, code)
		}
	}
	if res, _ := do("DELETE", path, ""); res.StatusCode != 405 {
		t.Errorf("DELETE: %s", res.Status)
	}
	if res, _ := do("POST", "/v1/objects/bundle", "../x\n"); res.StatusCode != 400 {
		t.Errorf("a bundle of nonsense: %s", res.Status)
	}
	if res, _ := do("POST", "/v1/objects/bundle", strings.Repeat(digest+"\n", 3000)); res.StatusCode != 400 {
		t.Errorf("a huge bundle: %s", res.Status)
	}
	damage(t, s, digest)
	if _, body := do("POST", "/v1/objects/bundle", digest+"\n"); body != strings.Repeat("\xff", 8) || has(s, digest) {
		t.Errorf("a damaged object in a bundle: %q; it should be told as missing and removed", body)
	}
}
