package static

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ServeHTTP implements http.Handler.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
func (s *Site) borrow(w http.ResponseWriter, r *http.Request, name string) bool {
	if s.Others == nil || strings.HasPrefix(contentType(name), "text/html") {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "document", "iframe", "frame", "embed", "object":
		return false
	}
	for _, o := range s.Others() {
		if o.serveFile(w, r, name, http.StatusOK) {
			return true
		}
	}
	return false
}

// serveFile sends a file of the release, or a smaller coding of it that lies
// beside it, and reports whether there is one.
func (s *Site) serveFile(w http.ResponseWriter, r *http.Request, name string, status int) bool {
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
func (s *Site) serveData(w http.ResponseWriter, r *http.Request, clean string) bool {
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
func (s *Site) short(w http.ResponseWriter, file *os.File, err error) bool {
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
func (s *Site) notFound(w http.ResponseWriter, r *http.Request) {
	if !s.serveFile(w, r, "404.html", http.StatusNotFound) {
		http.Error(w, "404 not found", http.StatusNotFound)
	}
}

// copyTo copies a file to an answer.
func copyTo(w http.ResponseWriter, f *os.File) (int64, error) {
	return f.WriteTo(w)
}
