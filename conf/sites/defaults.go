package sites

import (
	"cmp"
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
)

// WithDefaults returns s with every default of the site filled in. It changes
// nothing that is set. s should be valid.
func (s Settings) WithDefaults(site string) Settings {
	s = clone(&s)
	if s.Kind == "" {
		s.Kind = s.derivedKind()
	}
	s.Path = CleanMount(s.Path)
	s.Policy = cmp.Or(s.Policy, PolicyLeastSessions)
	s.Underscores = cmp.Or(s.Underscores, UnderscoresDrop)
	s.Protocol = cmp.Or(s.Protocol, ProtocolHTTP1)
	if s.Rewrite == nil {
		s.Rewrite = Rewrites()
	}
	if s.Kind == KindStatic {
		s.Public = cmp.Or(s.Public, ".")
	}
	for i, h := range s.Hosts {
		s.Hosts[i] = strings.ToLower(strings.TrimSuffix(h, "."))
	}

	h := &s.Health
	h.Type = cmp.Or(h.Type, HealthHTTP)
	h.Path = cmp.Or(h.Path, s.Path)
	h.Host = cmp.Or(h.Host, s.probeHost())
	h.Status = cmp.Or(h.Status, DefaultHealthStatus)
	h.Interval = cmp.Or(h.Interval, units.Duration(DefaultHealthInterval))
	h.Timeout = cmp.Or(h.Timeout, h.Interval)
	h.Rise = cmp.Or(h.Rise, DefaultRise)
	h.Fall = cmp.Or(h.Fall, DefaultFall)

	s.Session.Sticky = cmp.Or(s.Session.Sticky, StickyCookie)
	s.Session.Cookie = cmp.Or(s.Session.Cookie, "portico-"+site)
	s.Session.SameSite = cmp.Or(s.Session.SameSite, SameSiteLax)
	s.Session.Connection = cmp.Or(s.Session.Connection, "shared")
	s.Session.Idle = cmp.Or(s.Session.Idle, units.Duration(DefaultSessionIdle))
	s.Session.Patience = cmp.Or(s.Session.Patience, units.Duration(DefaultPatience))

	d := &s.Deploy
	d.Timeout = cmp.Or(d.Timeout, units.Duration(DefaultDeployTimeout))
	d.Pin = cmp.Or(d.Pin, units.Duration(DefaultPin))
	d.Keep = cmp.Or(d.Keep, DefaultKeep)
	d.Grace = cmp.Or(d.Grace, units.Duration(DefaultGrace))

	l := &s.Limits
	l.Body = cmp.Or(l.Body, units.Size(DefaultBody))
	l.Queue = cmp.Or(l.Queue, units.Duration(DefaultQueue))
	l.Files = cmp.Or(l.Files, DefaultFiles)
	l.Processes = cmp.Or(l.Processes, DefaultProcesses)

	s.TLS.Mode = cmp.Or(s.TLS.Mode, TLSAuto)
	s.TLS.Redirect = cmp.Or(s.TLS.Redirect, RedirectAuto)
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

// CleanMount brings a mount path into its one form: "/" or "/shop".
func CleanMount(p string) string {
	return "/" + strings.Trim(p, "/")
}
