package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"portico/conf/sites"
)

// overrideFor is what operators have set, for one release: of the process what they had set
// when it was deployed, and of the rest what they have set now. A candidate may come with a change of
// both, which counts for it alone until it is promoted.
func (s *Site) overrideFor(r *Release) (json.RawMessage, error) {
	switch {
	case r.Override == nil, bytes.Equal(r.Override, sites.StoredOverride(s.Override)): // nearly always, and in views of thousands of sites
		return s.Override, nil
	case s.Candidate == r.Digest && s.Release != r.Digest:
		return r.Override, nil
	}
	return sites.MergeShape(s.Override, r.Override)
}

// JoinedFor returns the settings with which the site runs one release, without defaults.
func (s *Site) JoinedFor(r *Release) (sites.Settings, error) {
	override, err := s.overrideFor(r)
	if err != nil {
		return sites.Settings{}, err
	}
	return sites.Join(r.Manifest, override)
}

// FilesOf returns the digest of the files of the release with this id. Releases of the same
// files with other settings of the process have a number behind it.
func FilesOf(release string) string {
	files, _, _ := strings.Cut(release, "-")
	return files
}

// ShortRelease is how people see a release: the first twelve characters of its files' digest,
// and its number.
func ShortRelease(release string) string {
	files, number, numbered := strings.Cut(release, "-")
	files = files[:min(12, len(files))]
	if numbered {
		return files + "-" + number
	}
	return files
}

// NamesRelease reports whether text, the beginning of a digest with or without a number, names
// the release.
func NamesRelease(text, release string) bool {
	files, number, numbered := strings.Cut(text, "-")
	of, has, _ := strings.Cut(release, "-")
	return strings.HasPrefix(of, files) && (!numbered || number == has)
}

// ValidRelease checks the id of a release.
func ValidRelease(id string) error {
	files, number, numbered := strings.Cut(id, "-")
	if err := ValidDigest(files); err != nil {
		return err
	}
	if n, err := strconv.Atoi(number); numbered && (err != nil || n < 1 || strconv.Itoa(n) != number) {
		return fmt.Errorf("%w: release %.80q: what follows the digest is not a number", ErrInvalid, id)
	}
	return nil
}
