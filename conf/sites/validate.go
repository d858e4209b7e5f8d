package sites

import (
	"slices"
	"strings"
	"time"
	"unicode"
)

// Validate returns every mistake in what the proxies need to know of a site. Zero values stand
// for defaults.
func (f Front) Validate() Mistakes {
	var m Mistakes
	f.validatePlace(&m)
	f.validatePlacement(&m)
	f.Health.validate(&m)
	f.Session.validate(&m)
	m.oneOf("tls.mode", f.TLS.Mode, TLSAuto, TLSOff, TLSInternal)
	m.oneOf("tls.redirect", f.TLS.Redirect, RedirectAuto, RedirectOn, RedirectOff)
	return m
}

func (f *Front) validatePlace(m *Mistakes) {
	seen := map[string]bool{}
	for i, h := range f.Hosts {
		switch why := hostFault(h); {
		case why != "":
			m.text(element("hosts", i), h, "is not a host: it %s; write it as shop.example.com, without scheme, port or path", why)
		case seen[h]:
			m.text(element("hosts", i), h, "is there twice: remove one")
		}
		seen[h] = true
	}
	if f.Path != "" && !validMount(f.Path) {
		m.text("path", f.Path, "is not a mount path: %s", mountRemedy)
	}
	for i, name := range f.Rewrite {
		if !slices.Contains(Rewrites(), name) {
			m.text(element("rewrite", i), string(name), "%s", remedy(string(name), Rewrites()))
		}
	}
	m.oneOf("underscores", f.Underscores, UnderscoresDrop, UnderscoresPass)
	m.oneOf("protocol", f.Protocol, ProtocolHTTP1, ProtocolH2C)
	if f.Protocol == ProtocolH2C && f.Session.Connection == ConnectionPrivate {
		m.text("protocol", f.Protocol, "excludes session.connection = \"private\": requests share the connections of HTTP/2")
	}
}

func (f *Front) validatePlacement(m *Mistakes) {
	if f.Policy != "" && !slices.Contains(Policies(), f.Policy) {
		m.text("policy", string(f.Policy), "%s", f.Policy.Remedy())
	}
	switch {
	case f.Policy == PolicyHeader && f.PolicyHeader == "":
		m.text("policy", string(f.Policy), "goes by a header field, and policy_header is missing: write one, such as policy_header = \"X-Tenant\"")
	case f.PolicyHeader != "" && !Token(f.PolicyHeader):
		m.text("policy_header", f.PolicyHeader, "is not the name of a header field: letters, digits, hyphen and underscore")
	}
	if b := f.PolicyBound; b != 0 && (b <= 100 || b > 1000) {
		m.value("policy_bound", b, "is not a bound: write percent of the fair share from 101 to 1000, such as 125, or 0 for none")
	}
	m.within("slow_start", f.SlowStart, 0, time.Hour)
}

func (h *Health) validate(m *Mistakes) {
	m.oneOf("health.type", h.Type, HealthHTTP, HealthTCP)
	if p := h.Path; p != "" && (p[0] != '/' || !printable(p) || strings.Contains(p, "#")) {
		m.text("health.path", p, "is not a path: it begins with / and has no blanks and no #; letters beyond ASCII are written as %%C3%%BC")
	}
	if h.Host != "" && (hostFault(strings.ToLower(h.Host)) != "" || strings.HasPrefix(h.Host, "*")) {
		m.text("health.host", h.Host, "is not a host name")
	}
	if h.Status != "" {
		if _, err := ParseStatus(h.Status); err != nil {
			m.text("health.status", h.Status, "is not a list of codes: write 200, 200-399 or 200,204,301-302")
		}
	}
	if len(h.Body) > 1024 {
		m.bare("health.body", "has %d bytes, the most is 1024", len(h.Body))
	}
	m.within("health.interval", h.Interval, 100*time.Millisecond, time.Hour)
	m.within("health.timeout", h.Timeout, 10*time.Millisecond, time.Hour)
	m.between("health.rise", h.Rise, 0, 1000)
	m.between("health.fall", h.Fall, 0, 1000)
}

func (s *Session) validate(m *Mistakes) {
	m.oneOf("session.sticky", s.Sticky, StickyCookie, StickyNone)
	m.oneOf("session.samesite", s.SameSite, SameSiteLax, SameSiteStrict, SameSiteNone)
	m.oneOf("session.connection", s.Connection, ConnectionShared, ConnectionPrivate)
	if s.Cookie != "" && !Token(s.Cookie) {
		m.text("session.cookie", s.Cookie, "is not a cookie name: letters, digits, - and _")
	}
	if s.Cookie == AdminCookie {
		m.text("session.cookie", s.Cookie, "is the cookie of the admin page's login: choose another name")
	}
	if s.Partitioned && s.SameSite != SameSiteNone {
		m.value("session.partitioned", s.Partitioned, "has no effect without samesite = \"none\": other cookies do not reach frames of other sites")
	}
	m.within("session.idle", s.Idle, time.Second, 365*24*time.Hour)
	m.within("session.life", s.Life, time.Second, 365*24*time.Hour)
	m.within("session.patience", s.Patience, 100*time.Millisecond, 24*time.Hour)
	m.between("session.max", s.Max, 0, 10_000_000)
	m.between("session.rebalance", s.Rebalance, 0, 1_000_000)
	if p := s.Logout; p != "" && (p[0] != '/' || strings.ContainsAny(p, " #?") || !plain(p) || len(p) > 1024) {
		m.text("session.logout", p, "is not a path: it begins with / and has no blanks and no ?")
	}
	if names := strings.Fields(s.Adopt); len(names) > 8 || slices.ContainsFunc(names, func(name string) bool { return !Token(name) }) {
		m.text("session.adopt", s.Adopt, "is no list of cookie names: separate them by blanks, 8 at most, or write \"none\"")
	}
	if why := profileFault(s.Profile); why != "" {
		m.text("session.profile", s.Profile, "%s", why)
	}
}

// Validate returns every mistake in the limits that the proxies keep.
func (l FrontLimits) Validate() Mistakes {
	var m Mistakes
	if l.Body < 0 {
		m.text("limits.body", l.Body.String(), "is out of range: bytes count from zero up")
	}
	m.between("limits.connections", l.Connections, 0, 10_000_000)
	m.within("limits.queue", l.Queue, time.Millisecond, time.Hour)
	if l.Rate != "" {
		if _, _, err := ParseRate(l.Rate); err != nil {
			m.text("limits.rate", l.Rate, "is not a rate: write a number and the time, such as 100/s or 600/m")
		}
	}
	return m
}

// printable reports whether s is ASCII without spaces and control characters.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// plain reports whether s can be shown and logged as it is.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Token reports whether s is a token of RFC 9110 section 5.6.2, and of bearable length.
func Token(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte(`"(),/:;<=>?@[\]{}`, s[i]) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= 128
}
