package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/account"
	"portico/deployhook/agent/beneath"
	"portico/deployhook/agent/folders"
	"portico/deployhook/agent/health"
	"portico/deployhook/agent/state"
	"portico/deployhook/archive"
	"portico/deployhook/objects"
	"portico/internal/descriptors"
	"portico/membership/catalog"
)

// staticSite serves the files of a release. Which files there are comes from the
// release's tree, not from the disk, so no request can name anything else; the
// entity tag of a file is its digest. Data folders are read from the disk.
type staticSite struct {
	root     *beneath.Dir           // the release
	public   string                 // prefix in the tree: "" or "dir/"
	mount    atomic.Pointer[string] // stripped from request paths; "" at the root
	files    map[string]objects.File
	folders  map[string]bool // by path without slash; "" is the root
	data     map[string]*beneath.Dir
	readable func(fs.FileInfo) bool // by the site itself; in data
	traffic  *descriptors.Traffic

	// others returns the site's other releases that are served here, the present one
	// first. Nil until the instance is attached.
	others func() []*staticSite
}

// startStatic makes the release's files an instance. It needs no process.
func (u *unit) startStatic(want catalog.WantedRelease, rel folders.Release, rec state.Instance) (*instance, error) {
	s, err := u.a.newStatic(want.Settings, rel)
	if err != nil {
		return nil, err
	}
	return &instance{running: s, rec: rec}, nil
}

// openStatic serves a release that is installed.
func (a *Agent) openStatic(site, id string, s sites.Settings) (*staticSite, error) {
	rel := folders.Release{Site: a.dirs(site)}
	rel.Dir = rel.Site.Release(id)
	var err error
	if rel.Data, err = folders.DataNames(s); err != nil {
		return nil, err
	}
	if rel.Account, err = a.siteAccount(site, s); err != nil {
		return nil, err
	}
	if rel.Tree, err = a.store.Tree(catalog.FilesOf(id), archive.Limits{}); err != nil {
		return nil, err
	}
	return a.newStatic(s, rel)
}

func (a *Agent) newStatic(set sites.Settings, rel folders.Release) (*staticSite, error) {
	s := &staticSite{
		files: make(map[string]objects.File), folders: map[string]bool{"": true},
		data: make(map[string]*beneath.Dir), readable: a.readable(rel.Account), traffic: a.traffic,
	}
	if p := path.Clean("/" + filepath.ToSlash(set.Public))[1:]; p != "" {
		s.public = p + "/"
	}
	s.moveTo(set)
	tree, _, err := folders.SplitData(rel.Tree, rel.Data)
	if err != nil {
		return nil, final(err)
	}
	for _, f := range tree.Files {
		if p, ok := strings.CutPrefix(f.Path, s.public); ok && !hidden(p) {
			s.add(p, f)
		}
	}
	if len(s.files) == 0 && len(rel.Data) == 0 {
		return nil, final(fmt.Errorf("public = %q: the release has no files there", cmp.Or(set.Public, ".")))
	}
	if s.root, err = beneath.Open(rel.Dir); err != nil {
		return nil, fmt.Errorf("open release: %w", err)
	}
	if err := s.addAll(rel); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// moveTo makes the site answer at its mount path, also one that it got while it is served: the
// proxies follow at once, too.
func (s *staticSite) moveTo(set sites.Settings) {
	mount := strings.TrimSuffix(set.Path, "/")
	if set.Strip {
		mount = ""
	}
	s.mount.Store(&mount)
}

// addAll opens the data folders that are public.
func (s *staticSite) addAll(rel folders.Release) error {
	if len(rel.Data) == 0 {
		return nil
	}
	data, err := beneath.Open(rel.Site.Data())
	if err != nil {
		return fmt.Errorf("open data: %w", err)
	}
	defer data.Close()
	for _, name := range rel.Data {
		if err := s.addData(name, data); err != nil {
			return err
		}
	}
	return nil
}

// readable returns whether a site may read a file by itself: a file that got into its data
// under another name, by a hard link, is not sent to visitors unless it may.
func (a *Agent) readable(acc account.Account) func(fs.FileInfo) bool {
	if !a.root {
		return func(fs.FileInfo) bool { return true }
	}
	return func(fi fs.FileInfo) bool { return beneath.Readable(fi, acc.UID, acc.GID) }
}

func (s *staticSite) add(p string, f objects.File) {
	s.files[p] = f
	for d := path.Dir(p); d != "." && !s.folders[d]; d = path.Dir(d) {
		s.folders[d] = true
	}
}

func (s *staticSite) addData(name string, data *beneath.Dir) error {
	p, ok := strings.CutPrefix(name+"/", s.public)
	if !ok || hidden(p) {
		return nil // outside of what is public
	}
	root, err := data.Dir(name)
	if errors.Is(err, beneath.ErrLink) {
		return final(fmt.Errorf("data folder %q: %w: make it a folder of its own in %s, or mount there what it leads to (mount --bind)", name, err, data.Root().Name()))
	}
	if err != nil {
		return fmt.Errorf("open data folder %q: %w", name, err)
	}
	s.data[strings.TrimSuffix(p, "/")] = root
	return nil
}

// hidden reports whether a path is never served: dot files (.git, .env), except
// what /.well-known/ is for (RFC 8615), and the site's own description.
func hidden(p string) bool {
	if p == "portico.toml" {
		return true
	}
	for i, part := range strings.Split(p, "/") {
		if strings.HasPrefix(part, ".") && !(i == 0 && part == ".well-known") {
			return true
		}
	}
	return false
}

func (s *staticSite) addr() string           { return "" }
func (s *staticSite) allows() allowed        { return nil }
func (s *staticSite) handler() http.Handler  { return s }
func (s *staticSite) ended() <-chan struct{} { return nil }
func (s *staticSite) outcome() string        { return "" }
func (s *staticSite) stays() bool            { return true }
func (s *staticSite) detach()                { s.close() }

func (s *staticSite) stop(context.Context, time.Duration) { s.close() }

func (s *staticSite) close() {
	if s.root != nil {
		_ = s.root.Close()
	}
	for _, r := range s.data {
		_ = r.Close()
	}
}

// check asks the files as a proxy would, without a network in between.
func (s *staticSite) check(ctx context.Context, c health.Check) catalog.Probe {
	p := catalog.Probe{At: time.Now()}
	req, err := c.Request(ctx)
	if err != nil || c.TCP {
		p.OK, p.Code = err == nil, "L4OK"
		if err != nil {
			p.Code, p.Error = "L7RSP", err.Error()
		}
		return p
	}
	w := &recorder{header: make(http.Header)}
	s.ServeHTTP(w, req)
	c.Judge(&p, cmp.Or(w.status, http.StatusOK), w.body, nil)
	return p
}

// recorder keeps the beginning of an answer.
type recorder struct {
	header http.Header
	status int
	body   []byte
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(code int) {
	if r.status == 0 {
		r.status = code
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.body = append(r.body, p[:min(len(p), health.BodyRead-len(r.body))]...)
	return len(p), nil
}

// ServeHTTP implements http.Handler.
func (s *staticSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	p := r.URL.Path
	if mount := *s.mount.Load(); mount != "" {
		rest, ok := strings.CutPrefix(p, mount)
		if !ok || rest != "" && rest[0] != '/' {
			s.notFound(w, r)
			return
		}
		p = rest
	}
	if p == "" {
		redirect(w, r, "/")
		return
	}
	clean := path.Clean(p)[1:]
	asFolder := strings.HasSuffix(p, "/")
	switch {
	case hidden(clean) || strings.ContainsRune(clean, 0):
		s.notFound(w, r)
	case !asFolder && s.serveFile(w, r, clean, http.StatusOK):
	case s.folders[clean] && !asFolder:
		redirect(w, r, "/")
	case s.folders[clean] && s.serveFile(w, r, path.Join(clean, "index.html"), http.StatusOK):
	case s.serveData(w, r, clean):
	case !asFolder && s.borrow(w, r, clean):
	default:
		s.notFound(w, r)
	}
}

// redirect sends the client to the same path with suffix. The target is written
// relative, so neither a host nor a mount path can get into it (a path that
// begins with two slashes would be a host).
func redirect(w http.ResponseWriter, r *http.Request, suffix string) {
	to := "./" + path.Base(r.URL.EscapedPath()) + suffix
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusMovedPermanently)
}

// borrow sends a file that this release lacks from another one of the site that is
// still served: a page of that one asks for it, which the browser had before the deploy
// or the rollback, and the request bears no cookie that leads there. Pages are not
// borrowed, because one that was taken out of the site has to be gone.
func (s *staticSite) borrow(w http.ResponseWriter, r *http.Request, name string) bool {
	if s.others == nil || strings.HasPrefix(contentType(name), "text/html") {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "document", "iframe", "frame", "embed", "object":
		return false
	}
	for _, o := range s.others() {
		if o.serveFile(w, r, name, http.StatusOK) {
			return true
		}
	}
	return false
}

// serveFile sends a file of the release, or a smaller coding of it that lies
// beside it, and reports whether there is one.
func (s *staticSite) serveFile(w http.ResponseWriter, r *http.Request, name string, status int) bool {
	f, ok := s.files[name]
	if !ok {
		return false
	}
	codings, coding := s.codings(name), ""
	if len(codings) > 0 {
		if coding = chooseCoding(r.Header.Values("Accept-Encoding"), codings); coding != "" {
			f = s.files[name+codingSuffix[coding]]
		}
	}
	file, _, err := s.root.File(filepath.FromSlash(f.Path))
	if errors.Is(err, fs.ErrClosed) {
		return false // the release has ended in this moment
	}
	if s.short(w, file, err) {
		return true
	}
	if err != nil {
		http.Error(w, "the file cannot be read", http.StatusInternalServerError)
		return true
	}
	defer file.Close()
	h := w.Header()
	h.Set("Content-Type", contentType(name))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "public, max-age=0, must-revalidate")
	if len(codings) > 0 {
		h.Add("Vary", "Accept-Encoding")
	}
	if coding != "" {
		h.Set("Content-Encoding", coding)
	}
	if status != http.StatusOK {
		h.Set("Content-Length", strconv.FormatInt(f.Size, 10))
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = copyTo(w, file)
		}
		return true
	}
	h.Set("ETag", `"`+f.Digest+`"`)
	if coding != "" && r.Header.Get("If-Match") == "" && r.Header.Get("If-Unmodified-Since") == "" {
		// ServeContent leaves this out for coded content, though it is known. It
		// takes it away again for answers without content except after a failed
		// precondition.
		h.Set("Content-Length", strconv.FormatInt(f.Size, 10))
	}
	// No Last-Modified: after a rollback the release has an older date than the one that
	// browsers hold, and would seem unchanged. The entity tag is the content's digest.
	http.ServeContent(w, r, name, time.Time{}, file)
	return true
}

// serveData sends a file of a data folder, which may change at any time.
func (s *staticSite) serveData(w http.ResponseWriter, r *http.Request, clean string) bool {
	for name, root := range s.data {
		rest, ok := strings.CutPrefix(clean, name+"/")
		if !ok {
			continue
		}
		file, fi, err := root.File(filepath.FromSlash(rest))
		if s.short(w, file, err) {
			return true
		}
		if err != nil {
			return false
		}
		defer file.Close()
		if !s.readable(fi) {
			return false
		}
		h := w.Header()
		h.Set("Content-Type", contentType(rest))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", fmt.Sprintf(`W/"%x-%x"`, fi.ModTime().UnixNano(), fi.Size()))
		http.ServeContent(w, r, rest, fi.ModTime(), file)
		return true
	}
	return false
}

// short answers a visitor for whose file there was no descriptor, or only one that is not for traffic. It reports false for any other.
func (s *staticSite) short(w http.ResponseWriter, file *os.File, err error) bool {
	if _, check := w.(*recorder); check { // the agent's own, which is no traffic
		return false
	}
	if err != nil && !s.traffic.Out(err) || err == nil && s.traffic.KeepOpen(file) {
		return false
	}
	if err == nil {
		_ = file.Close()
	}
	w.Header().Set("Retry-After", "1")
	http.Error(w, "this server has too much to do, please try again", http.StatusServiceUnavailable)
	return true
}

// notFound sends the site's own page if it has one.
func (s *staticSite) notFound(w http.ResponseWriter, r *http.Request) {
	if !s.serveFile(w, r, "404.html", http.StatusNotFound) {
		http.Error(w, "404 not found", http.StatusNotFound)
	}
}

// codingSuffix maps content codings to the extension of files that hold them.
var codingSuffix = map[string]string{"br": ".br", "zstd": ".zst", "gzip": ".gz"}

// codingOrder is the preference among codings that a client likes equally.
var codingOrder = []string{"br", "zstd", "gzip"}

// codings returns the codings in which a file is there.
func (s *staticSite) codings(name string) []string {
	var list []string
	for _, c := range codingOrder {
		if _, ok := s.files[name+codingSuffix[c]]; ok {
			list = append(list, c)
		}
	}
	return list
}

// chooseCoding picks the coding that the client prefers, "" for none (RFC 9110
// section 12.5.3).
func chooseCoding(accept []string, have []string) string {
	weight := make(map[string]float64)
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, params, _ := strings.Cut(part, ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q="); ok {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil || n < 0 || n > 1 {
				n = 0
			}
			q = n
		}
		weight[strings.ToLower(strings.TrimSpace(name))] = q
	}
	if q, ok := weight["x-gzip"]; ok && weight["gzip"] == 0 {
		weight["gzip"] = q
	}
	best, bestQ := "", 0.0
	for _, c := range have {
		q, ok := weight[c]
		if !ok {
			q = weight["*"]
		}
		if q > bestQ {
			best, bestQ = c, q
		}
	}
	if identity, ok := weight["identity"]; ok && identity > bestQ {
		return ""
	}
	return best
}

// contentTypes are types that a bare system does not know or gets wrong. The
// system's own table is not asked for these, so every server answers alike.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".htm": "text/html; charset=utf-8",
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
	".json": "application/json", ".map": "application/json", ".webmanifest": "application/manifest+json",
	".xml": "application/xml", ".rss": "application/rss+xml", ".atom": "application/atom+xml",
	".txt": "text/plain; charset=utf-8", ".md": "text/markdown; charset=utf-8", ".csv": "text/csv; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
	".webp": "image/webp", ".avif": "image/avif", ".ico": "image/vnd.microsoft.icon",
	".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf", ".otf": "font/otf", ".eot": "application/vnd.ms-fontobject",
	".wasm": "application/wasm", ".pdf": "application/pdf", ".zip": "application/zip", ".gz": "application/gzip",
	".mp4": "video/mp4", ".webm": "video/webm", ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".wav": "audio/wav",
	".ics": "text/calendar; charset=utf-8", ".vtt": "text/vtt; charset=utf-8",
}

func contentType(name string) string {
	ext := strings.ToLower(path.Ext(name))
	if t, ok := contentTypes[ext]; ok {
		return t
	}
	return cmp.Or(mime.TypeByExtension(ext), "application/octet-stream")
}

// copyTo copies a file to an answer.
func copyTo(w http.ResponseWriter, f *os.File) (int64, error) {
	return f.WriteTo(w)
}
