package static

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"

	"portico/conf/sites"
	"portico/deployhook/agent/beneath"
	"portico/deployhook/agent/folders"
	"portico/deployhook/objects"
	"portico/internal/descriptors"
)

// Site serves the files of a release. Which files there are comes from the
// release's tree, not from the disk, so no request can name anything else; the
// entity tag of a file is its digest. Data folders are read from the disk.
type Site struct {
	root     *beneath.Dir           // the release
	public   string                 // prefix in the tree: "" or "dir/"
	mount    atomic.Pointer[string] // stripped from request paths; "" at the root
	files    map[string]objects.File
	folders  map[string]bool // by path without slash; "" is the root
	data     map[string]*beneath.Dir
	readable func(fs.FileInfo) bool // by the site itself; in data
	traffic  *descriptors.Traffic

	// Others returns the site's other releases that are served here, the present one
	// first. It is set before the first request, or stays nil.
	Others func() []*Site
}

// Refusal is why a release cannot be served as its settings say, however often it is tried.
type Refusal struct{ Err error }

// Error implements error.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Err }

// Open serves a release that is installed. Readable reports whether the site may read a file of its
// data by itself. Without a descriptor for traffic, visitors are asked to try again.
func Open(set sites.Settings, rel folders.Release, readable func(fs.FileInfo) bool, traffic *descriptors.Traffic) (*Site, error) {
	s := &Site{
		files: make(map[string]objects.File), folders: map[string]bool{"": true},
		data: make(map[string]*beneath.Dir), readable: readable, traffic: traffic,
	}
	if p := path.Clean("/" + filepath.ToSlash(set.Public))[1:]; p != "" {
		s.public = p + "/"
	}
	s.MoveTo(set)
	tree, _, err := folders.SplitData(rel.Tree, rel.Data)
	if err != nil {
		return nil, &Refusal{err}
	}
	for _, f := range tree.Files {
		if p, ok := strings.CutPrefix(f.Path, s.public); ok && !hidden(p) {
			s.add(p, f)
		}
	}
	if len(s.files) == 0 && len(rel.Data) == 0 {
		return nil, &Refusal{fmt.Errorf("public = %q: the release has no files there", cmp.Or(set.Public, "."))}
	}
	if s.root, err = beneath.Open(rel.Dir); err != nil {
		return nil, fmt.Errorf("open release: %w", err)
	}
	if err := s.addAll(rel); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// MoveTo makes the site answer at its mount path, also one that it got while it is served: the
// proxies follow at once, too.
func (s *Site) MoveTo(set sites.Settings) {
	mount := strings.TrimSuffix(set.Path, "/")
	if set.Strip {
		mount = ""
	}
	s.mount.Store(&mount)
}

// addAll opens the data folders that are public.
func (s *Site) addAll(rel folders.Release) error {
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

func (s *Site) add(p string, f objects.File) {
	s.files[p] = f
	for d := path.Dir(p); d != "." && !s.folders[d]; d = path.Dir(d) {
		s.folders[d] = true
	}
}

func (s *Site) addData(name string, data *beneath.Dir) error {
	p, ok := strings.CutPrefix(name+"/", s.public)
	if !ok || hidden(p) {
		return nil // outside of what is public
	}
	root, err := data.Dir(name)
	if errors.Is(err, beneath.ErrLink) {
		return &Refusal{fmt.Errorf("data folder %q: %w: make it a folder of its own in %s, or mount there what it leads to (mount --bind)", name, err, data.Root().Name())}
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

// Close ends it. Requests under way find nothing any more.
func (s *Site) Close() {
	if s.root != nil {
		_ = s.root.Close()
	}
	for _, r := range s.data {
		_ = r.Close()
	}
}
