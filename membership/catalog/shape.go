package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/internal/units"
)

// shape are the settings that an instance gets at its start and keeps until its end. A site
// that changes one of them needs other instances, so the change is a deploy of the same files.
type shape struct {
	Kind   Kind
	Run    []string
	Public string
	Data   []string
	User   string
	Env    map[string]string
	Hook   HookSettings
	Path   string // of a Tomcat site alone, which is installed there

	Memory           units.Size
	CPU              float64
	Files, Processes int
}

// shapedBy are the same settings by their names in what operators set.
var shapedBy = []string{"kind", "run", "public", "data", "user", "env", "hook"}

// shapedByLimits are those of the section limits.
var shapedByLimits = []string{"memory", "cpu", "files", "processes"}

// shape returns what of the settings, with or without defaults, an instance keeps.
func (s Settings) shape() shape {
	s = s.WithDefaults("")
	out := shape{
		Kind: s.Kind, Run: s.Run, Public: s.Public, Data: s.Data, User: s.User, Env: s.Env, Hook: s.Hook,
		Memory: s.Limits.Memory, CPU: s.Limits.CPU, Files: s.Limits.Files, Processes: s.Limits.Processes,
	}
	if s.Kind == KindTomcat {
		out.Path = s.Path
	}
	return out
}

// SameShape reports whether an instance that was started with s can go on with other.
func (s Settings) SameShape(other Settings) bool {
	a, errA := json.Marshal(s.shape())
	b, errB := json.Marshal(other.shape())
	return errA == nil && errB == nil && string(a) == string(b)
}

// withShape returns override with the settings of the process as they are in frozen.
func withShape(override, frozen json.RawMessage) (json.RawMessage, error) {
	into, errInto := fields(override)
	from, errFrom := fields(frozen)
	if err := errors.Join(errInto, errFrom); err != nil {
		return nil, err
	}
	limits, errInto := fields(into["limits"])
	fromLimits, errFrom := fields(from["limits"])
	if err := errors.Join(errInto, errFrom); err != nil {
		return nil, err
	}
	take(into, from, shapedBy)
	take(limits, fromLimits, shapedByLimits)
	delete(into, "limits")
	if len(limits) > 0 {
		data, err := json.Marshal(limits)
		if err != nil {
			return nil, err
		}
		into["limits"] = data
	}
	if len(into) == 0 {
		return nil, nil
	}
	return json.Marshal(into)
}

// fields are the members of a JSON object, which may be missing.
func fields(object json.RawMessage) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	if len(object) == 0 {
		return out, nil
	}
	if err := json.Unmarshal(object, &out); err != nil {
		return nil, fmt.Errorf("%w: stored settings: %w", ErrInvalid, err)
	}
	return out, nil
}

// take replaces the named fields of into by those of from, whatever their case: the decoder
// of settings does not mind it.
func take(into, from map[string]json.RawMessage, names []string) {
	named := func(key string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, key) })
	}
	for key := range into {
		if named(key) {
			delete(into, key)
		}
	}
	for key, value := range from {
		if named(key) {
			into[key] = value
		}
	}
}

// overrideFor is what operators have set, for one release: of the process what they had set
// when it was deployed, and of the rest what they have set now. A candidate may come with a change of
// both, which counts for it alone until it is promoted.
func (s *Site) overrideFor(r *Release) (json.RawMessage, error) {
	switch {
	case r.Override == nil, bytes.Equal(r.Override, orEmpty(s.Override)): // nearly always, and in views of thousands of sites
		return s.Override, nil
	case s.Candidate == r.Digest && s.Release != r.Digest:
		return r.Override, nil
	}
	return withShape(s.Override, r.Override)
}

// JoinedFor returns the settings with which the site runs one release, without defaults.
func (s *Site) JoinedFor(r *Release) (Settings, error) {
	override, err := s.overrideFor(r)
	if err != nil {
		return Settings{}, err
	}
	return Join(r.Manifest, override)
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

// name gives a release that is to be deployed its id: that of the same files with the same shape, the
// digest of the files where there are none, else one with the site's next number. What ran before this
// was known is given what operators have set now, with which it runs.
func (r *Release) name(tx *Tx, site *Site, now time.Time) error {
	known := tx.Releases(site.Name)
	for i := range known {
		if old := &known[i]; old.Override == nil {
			old.Override = orEmpty(site.Override)
			if err := tx.PutRelease(*old); err != nil {
				return err
			}
		}
	}
	mine, err := Join(r.Manifest, r.Override)
	if err != nil {
		return err
	}
	files, taken := FilesOf(r.Digest), false
	for _, old := range known {
		if FilesOf(old.Digest) != files {
			continue
		}
		theirs, err := Join(old.Manifest, old.Override)
		if err == nil && theirs.SameShape(mine) {
			r.Digest, r.Created = old.Digest, old.Created
			return nil
		}
		taken = true
	}
	r.Digest = files
	if taken {
		site.Shapes++
		r.Created = now.UTC()
		r.Digest = fmt.Sprintf("%s-%d", files, site.Shapes)
	}
	return nil
}

// orEmpty makes "nothing is set" something that is stored.
func orEmpty(override json.RawMessage) json.RawMessage {
	if len(override) == 0 {
		return json.RawMessage("{}")
	}
	return override
}
