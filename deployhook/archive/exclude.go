package archive

import (
	"fmt"
	"path"
	"strings"
)

// Exclude is a list of patterns for what stays out of a release. A pattern
// without a slash matches a name at any depth ("*.log", "node_modules"); one
// with a slash matches from the top ("build/tmp", "/secret.txt"); "**" stands
// for any number of folders ("docs/**/*.psd"); a slash at the end asks for a
// folder. What lies in an excluded folder is excluded. The rest is as in
// path.Match.
type Exclude struct {
	patterns []pattern
}

type pattern struct {
	segments []string
	anchored bool // matches from the top
	folder   bool // matches folders only
}

// AlwaysExcluded returns the names that never are part of a site: version
// control, which would publish the history, and what desktops leave lying about.
func AlwaysExcluded() []string {
	return []string{".git", ".hg", ".svn", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX"}
}

// NewExclude compiles patterns. The error names the first bad one.
func NewExclude(patterns []string) (Exclude, error) {
	var x Exclude
	for _, text := range patterns {
		p := pattern{folder: strings.HasSuffix(text, "/")}
		trimmed := strings.Trim(text, "/")
		p.anchored = strings.HasPrefix(text, "/") || strings.Contains(trimmed, "/")
		p.segments = strings.Split(trimmed, "/")
		for _, seg := range p.segments {
			if _, err := path.Match(seg, ""); err != nil || seg == "" || seg == ".." || seg == "." {
				return Exclude{}, fmt.Errorf(`exclude %q is not a pattern: write names with "*" and "?", such as "*.log" or "build/cache"`, text)
			}
		}
		x.patterns = append(x.patterns, p)
	}
	return x, nil
}

// Match reports whether the file or folder p, or a folder that it lies in, is
// excluded.
func (x Exclude) Match(p string, folder bool) bool {
	if len(x.patterns) == 0 {
		return false
	}
	segments := strings.Split(p, "/")
	for n := 1; n <= len(segments); n++ {
		if x.matchExact(segments[:n], folder || n < len(segments)) {
			return true
		}
	}
	return false
}

// matchExact looks at this path alone, not at the folders above it.
func (x Exclude) matchExact(segments []string, folder bool) bool {
	for _, p := range x.patterns {
		if p.folder && !folder {
			continue
		}
		if p.anchored && matchSegments(p.segments, segments) {
			return true
		}
		if !p.anchored && matchSegments(p.segments, segments[len(segments)-1:]) {
			return true
		}
	}
	return false
}

// matchSegments goes through the path once for each part of the pattern, so
// that no pattern, however full of "**", takes more than their product.
func matchSegments(pattern, segments []string) bool {
	// at[i]: the parts so far match the first i segments.
	at := make([]bool, len(segments)+1)
	at[0] = true
	for _, part := range pattern {
		next := make([]bool, len(at))
		for i := range at {
			switch {
			case part == "**":
				next[i] = at[i] || i > 0 && next[i-1]
			case i > 0 && at[i-1]:
				ok, err := path.Match(part, segments[i-1])
				next[i] = ok && err == nil
			}
		}
		at = next
	}
	return at[len(segments)]
}
