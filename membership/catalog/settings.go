package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"portico/internal/units"
)

// The defaults of a site's settings.
const (
	DefaultHealthInterval = 2 * time.Second  // a dead instance is out after Fall of these at the latest
	DefaultRise           = 2                // one lucky answer proves little
	DefaultFall           = 3                // one lost packet should not empty an instance
	DefaultHealthStatus   = "200-399"        // redirects to a login page are healthy
	DefaultPatience       = time.Minute      // longer than a live migration, a snapshot or a cable that is plugged elsewhere takes; who waits longer has left
	DefaultSessionIdle    = 30 * time.Minute // what Tomcat, PHP and ASP.NET forget sessions after, or later
	DefaultDeployTimeout  = 60 * time.Second // a large WAR starts within
	DefaultPin            = 8 * time.Hour    // a working day
	DefaultKeep           = 4                // former releases kept for a rollback
	DefaultGrace          = 10 * time.Second // between SIGTERM and SIGKILL
	DefaultBody           = 64 << 20         // bytes of one request
	DefaultQueue          = 5 * time.Second  // longer, and visitors press reload
	DefaultFiles          = 4096             // open files of one process
	MinDisk               = 1 << 20          // bytes that limits.disk has at least
	DefaultProcesses      = 512              // processes and threads of one site
	DefaultPolicy         = "least-sessions" // sessions live in memory, so they are what fills a server
)

// Policies are the names that Settings.Policy may have.
func Policies() []string {
	return []string{"round-robin", "least-connections", "least-sessions", "random", "source", "header", "uri", "first"}
}

// Rewrites are the names that Settings.Rewrite may hold.
func Rewrites() []string {
	return []string{"location", "content-location", "refresh", "link", "cookie-path", "cookie-domain"}
}

// or returns v unless it is its type's zero value.
func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// WithDefaults returns s with every default of the site filled in. It changes
// nothing that is set. s should be valid.
func (s Settings) WithDefaults(site string) Settings {
	s = clone(&s)
	if s.Kind == "" {
		s.Kind = s.derivedKind()
	}
	s.Path = cleanMount(s.Path)
	s.Policy = or(s.Policy, DefaultPolicy)
	s.Underscores = or(s.Underscores, "drop")
	if s.Rewrite == nil {
		s.Rewrite = Rewrites()
	}
	if s.Kind == KindStatic {
		s.Public = or(s.Public, ".")
	}
	for i, h := range s.Hosts {
		s.Hosts[i] = strings.ToLower(strings.TrimSuffix(h, "."))
	}

	h := &s.Health
	h.Type = or(h.Type, "http")
	h.Path = or(h.Path, s.Path)
	h.Host = or(h.Host, s.probeHost())
	h.Status = or(h.Status, DefaultHealthStatus)
	h.Interval = or(h.Interval, units.Duration(DefaultHealthInterval))
	h.Timeout = or(h.Timeout, h.Interval)
	h.Rise = or(h.Rise, DefaultRise)
	h.Fall = or(h.Fall, DefaultFall)

	s.Session.Sticky = or(s.Session.Sticky, "cookie")
	s.Session.Cookie = or(s.Session.Cookie, "portico-"+site)
	s.Session.SameSite = or(s.Session.SameSite, "lax")
	s.Session.Connection = or(s.Session.Connection, "shared")
	s.Session.Idle = or(s.Session.Idle, units.Duration(DefaultSessionIdle))
	s.Session.Patience = or(s.Session.Patience, units.Duration(DefaultPatience))

	d := &s.Deploy
	d.Timeout = or(d.Timeout, units.Duration(DefaultDeployTimeout))
	d.Pin = or(d.Pin, units.Duration(DefaultPin))
	d.Keep = or(d.Keep, DefaultKeep)
	d.Grace = or(d.Grace, units.Duration(DefaultGrace))

	l := &s.Limits
	l.Body = or(l.Body, units.Size(DefaultBody))
	l.Queue = or(l.Queue, units.Duration(DefaultQueue))
	l.Files = or(l.Files, DefaultFiles)
	l.Processes = or(l.Processes, DefaultProcesses)

	s.TLS.Mode = or(s.TLS.Mode, "auto")
	s.TLS.Redirect = or(s.TLS.Redirect, "auto")
	return s
}

// derivedKind is the kind that the other settings imply. Only the receiver, which
// sees the archive, can know that it is a WAR.
func (s *Settings) derivedKind() Kind {
	switch {
	case len(s.Run) > 0:
		return KindRun
	case s.Hook.Port != 0:
		return KindHook
	default:
		return KindStatic
	}
}

// probeHost is the Host field of health checks where none is set.
func (s *Settings) probeHost() string {
	for _, h := range s.Hosts {
		if !strings.HasPrefix(h, "*.") {
			return h
		}
	}
	return "localhost"
}

// cleanMount brings a mount path into its one form: "/" or "/shop".
func cleanMount(p string) string {
	return "/" + strings.Trim(p, "/")
}

// Join lays override, a JSON object with any subset of the fields, over the
// manifest's settings. Objects are joined field by field, lists are replaced
// whole. An unknown field is an error.
func Join(manifest Settings, override json.RawMessage) (Settings, error) {
	out := clone(&manifest)
	if len(bytes.TrimSpace(override)) == 0 {
		return out, nil
	}
	d := json.NewDecoder(bytes.NewReader(override))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		return Settings{}, fmt.Errorf("%w: %s", ErrInvalid, misfit(err))
	}
	if d.More() {
		return Settings{}, fmt.Errorf("%w: settings: more than one JSON value", ErrInvalid)
	}
	return out, nil
}

// misfit says what a decoder of settings found in words without Go in them.
func misfit(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Sprintf("setting %q cannot be a %s", wrong.Field, wrong.Value)
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if name, ok := strings.CutPrefix(text, "unknown field "); ok {
		return "unknown setting " + name
	}
	return "settings: " + text
}

// Effective returns the settings that the site runs with: the manifest's, what
// operators set over them, and the defaults.
func (s *Site) Effective() (Settings, error) {
	joined, err := Join(s.Manifest, s.Override)
	if err != nil {
		return Settings{}, fmt.Errorf("site %q: %w", s.Name, err)
	}
	return joined.WithDefaults(s.Name), nil
}

// EffectiveFor returns the settings with which the site runs one release: the
// manifest of that release, what operators set for it, and the defaults.
func (s *Site) EffectiveFor(r *Release) (Settings, error) {
	joined, err := s.JoinedFor(r)
	if err != nil {
		return Settings{}, fmt.Errorf("site %q: %w", s.Name, err)
	}
	return joined.WithDefaults(s.Name), nil
}

// MergeOverride applies a change to what operators have set, as RFC 7386 says: a
// member of patch replaces, null takes away, objects are merged. The outcome is
// nil when nothing is left.
func MergeOverride(override, patch json.RawMessage) (json.RawMessage, error) {
	var change map[string]any
	if err := json.Unmarshal(patch, &change); err != nil || change == nil {
		return nil, fmt.Errorf("%w: settings must be a JSON object", ErrInvalid)
	}
	base := map[string]any{}
	if len(override) > 0 {
		if err := json.Unmarshal(override, &base); err != nil {
			return nil, fmt.Errorf("%w: stored settings: %w", ErrInvalid, err)
		}
	}
	mergePatch(base, change)
	if len(base) == 0 {
		return nil, nil
	}
	return json.Marshal(base)
}

func mergePatch(base, change map[string]any) {
	for k, v := range change {
		sub, isObject := v.(map[string]any)
		switch {
		case v == nil:
			delete(base, k)
		case isObject:
			into, ok := base[k].(map[string]any)
			if !ok {
				into = map[string]any{}
			}
			mergePatch(into, sub)
			base[k] = into
			if len(into) == 0 {
				delete(base, k)
			}
		default:
			base[k] = v
		}
	}
}
