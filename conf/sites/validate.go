package sites

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/internal/units"
)

// SettingError is one thing that is wrong with Settings.
type SettingError struct {
	Key string // where it stands, as in a site's file: "health.path", "hosts[1]"
	Err error  // what is wrong, with the value and the remedy
}

// Error implements error.
func (e *SettingError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e *SettingError) Unwrap() error { return e.Err }

// mistakes collects what is wrong, each a *SettingError.
type mistakes []error

func (m *mistakes) add(key, format string, args ...any) {
	m.is(key, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
}

func (m *mistakes) is(key string, err error) { *m = append(*m, &SettingError{key, err}) }

func (m *mistakes) oneOf(name, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		m.add(name, "%s = %q: use one of %s", name, value, strings.Join(allowed, ", "))
	}
}

func (m *mistakes) between(name string, v, low, high int) {
	if v < low || v > high {
		m.add(name, "%s = %d: it must be between %d and %d", name, v, low, high)
	}
}

func (m *mistakes) within(name string, d units.Duration, low, high time.Duration) {
	if d != 0 && (d.Std() < low || d.Std() > high) {
		m.add(name, "%s = %q: it must be between %s and %s", name, d, units.Duration(low), units.Duration(high))
	}
}

// Validate returns every mistake in s, each a *SettingError naming the setting, its value
// and the remedy; none if s may be used. Zero values stand for defaults.
func (s Settings) Validate() []error {
	var m mistakes
	s.validateKind(&m)
	s.validatePlace(&m)
	s.validateProcess(&m)
	s.validateHealth(&m)
	s.validateSession(&m)
	s.validateRest(&m)
	return m
}

// element is the key of a list's element.
func element(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

func (s *Settings) validateKind(m *mistakes) {
	m.oneOf("kind", string(s.Kind), string(KindRun), string(KindStatic), string(KindTomcat), string(KindHook))
	switch s.Kind {
	case KindRun:
		if len(s.Run) == 0 {
			m.add("kind", `kind = "run" needs the command: set run = ["./server", "--port", "$PORT"]`)
		}
	case KindHook:
		if s.Hook.Port == 0 {
			m.add("kind", `kind = "hook" needs to know where the foreign server answers: set port under [hook]`)
		}
	case "":
		if len(s.Run) > 0 && s.Hook.Port != 0 {
			m.add("run", `run and hook.port are both set: set kind = "run" or kind = "hook"`)
		}
	}
	if s.Kind != "" && s.Kind != KindRun && len(s.Run) > 0 {
		m.add("run", `run is set for a site of kind %q: remove it, or set kind = "run"`, s.Kind)
	}
	m.between("hook.port", s.Hook.Port, 0, 65535)
}

func (s *Settings) validatePlace(m *mistakes) {
	seen := map[string]bool{}
	for i, h := range s.Hosts {
		if err := ValidHost(h); err != nil {
			m.is(element("hosts", i), err)
		}
		if seen[strings.ToLower(h)] {
			m.add(element("hosts", i), "hosts names %q twice: remove one", h)
		}
		seen[strings.ToLower(h)] = true
	}
	if len(s.Hosts) > 100 {
		m.add("hosts", "hosts has %d names, the most is 100", len(s.Hosts))
	}
	for i, name := range s.Servers {
		if ValidName("server", name) != nil {
			m.add(element("servers", i), "servers names %q: write a label or the name of an application server, in lower-case letters, digits and hyphens, such as \"zone-a\"", name)
		}
	}
	if len(s.Servers) > MaxLabels {
		m.add("servers", "servers has %d names, the most is %d: give the servers one label in common", len(s.Servers), MaxLabels)
	}
	if err := ValidMount(s.Path); s.Path != "" && err != nil {
		m.is("path", err)
	}
	if s.Public != "" && !fs.ValidPath(s.Public) {
		m.add("public", "public = %q: name a folder of the archive, such as \"public\", without dot-dot", s.Public)
	}
	for i, d := range s.Data {
		if !fs.ValidPath(d) || d == "." || strings.ContainsAny(d, `\:`) {
			m.add(element("data", i), "data names %q: name a folder inside the site, such as \"uploads\", without dot-dot", d)
		} else if strings.Contains(strings.ToLower("/"+d), "/.portico-") {
			m.add(element("data", i), "data names %q: names that begin with \".portico-\" are portico's own in data folders, choose another", d)
		}
	}
	for i, e := range s.Exclude {
		if _, err := path.Match(e, "x"); err != nil {
			m.add(element("exclude", i), "exclude has the pattern %q, which is malformed: use * and ? and [a-z]", e)
		}
	}
}

func (s *Settings) validateProcess(m *mistakes) {
	for _, c := range []struct {
		name string
		argv []string
	}{{"run", s.Run}, {"hook.install", s.Hook.Install}, {"hook.activate", s.Hook.Activate}, {"hook.remove", s.Hook.Remove}, {"deploy.before", s.Deploy.Before}} {
		if len(c.argv) > 0 && c.argv[0] == "" {
			m.add(c.name, "%s begins with an empty word: its first word is the program", c.name)
		}
		for i, a := range c.argv {
			if strings.Contains(a, "\x00") {
				m.add(element(c.name, i), "%s contains a NUL byte: remove it", c.name)
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.Env)) {
		switch {
		case !validEnvName(k):
			m.add("env."+k, "env has the name %q: use letters, digits and underscores, not a digit first", k)
		case k == "PORT" || strings.HasPrefix(k, "PORTICO_"):
			m.add("env."+k, "env sets %q, which portico sets itself: choose another name", k)
		case strings.Contains(s.Env[k], "\x00"):
			m.add("env."+k, "env %s contains a NUL byte: remove it", k)
		}
	}
	if s.User != "" && (len(s.User) > 32 || strings.Trim(strings.ToLower(s.User), "abcdefghijklmnopqrstuvwxyz0123456789_-.") != "" || s.User[0] == '-') {
		m.add("user", "user = %q is not an account name", s.User)
	}
	if s.User == "root" || s.User == "0" {
		m.add("user", "user = %q: a site's process never runs as root, name another account", s.User)
	}
}

func validEnvName(k string) bool {
	for i := range len(k) {
		c := k[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return k != ""
}

func (s *Settings) validateHealth(m *mistakes) {
	h := s.Health
	m.oneOf("health.type", h.Type, "http", "tcp")
	if h.Path != "" && (h.Path[0] != '/' || !printable(h.Path)) {
		m.add("health.path", "health.path = %q: it must begin with / and have no spaces", h.Path)
	}
	if h.Host != "" && (ValidHost(h.Host) != nil || strings.HasPrefix(h.Host, "*")) {
		m.add("health.host", "health.host = %q is not a host name", h.Host)
	}
	if h.Status != "" {
		if _, err := ParseStatus(h.Status); err != nil {
			m.is("health.status", fmt.Errorf("health.status: %w", err))
		}
	}
	if len(h.Body) > 1024 {
		m.add("health.body", "health.body has %d bytes, the most is 1024", len(h.Body))
	}
	m.within("health.interval", h.Interval, 100*time.Millisecond, time.Hour)
	m.within("health.timeout", h.Timeout, 10*time.Millisecond, time.Hour)
	m.between("health.rise", h.Rise, 0, 100)
	m.between("health.fall", h.Fall, 0, 100)
}

func (s *Settings) validateSession(m *mistakes) {
	n := s.Session
	m.oneOf("session.sticky", n.Sticky, "cookie", "none")
	m.oneOf("session.samesite", n.SameSite, "lax", "strict", "none")
	m.oneOf("session.connection", n.Connection, "shared", "private")
	if n.Cookie != "" && !token(n.Cookie) {
		m.add("session.cookie", "session.cookie = %q is not a cookie name: use letters, digits, hyphen and underscore", n.Cookie)
	}
	if n.Cookie == AdminCookie {
		m.add("session.cookie", "session.cookie = %q is the cookie of the admin page's login: choose another name", n.Cookie)
	}
	m.within("session.idle", n.Idle, time.Second, 365*24*time.Hour)
	m.within("session.life", n.Life, time.Second, 365*24*time.Hour)
	m.within("session.patience", n.Patience, 100*time.Millisecond, 24*time.Hour)
	m.between("session.max", n.Max, 0, 10_000_000)
	m.between("session.rebalance", n.Rebalance, 0, 1_000_000)
	if n.Logout != "" && (!strings.HasPrefix(n.Logout, "/") || strings.ContainsAny(n.Logout, " #?\r\n") || len(n.Logout) > 1024) {
		m.add("session.logout", "session.logout = %q is not a path: it begins with / and has no blanks and no ?", n.Logout)
	}
	if names := strings.Fields(n.Adopt); len(names) > 8 || slices.ContainsFunc(names, func(s string) bool { return !token(s) }) {
		m.add("session.adopt", "session.adopt = %q is no list of cookie names: separate them by blanks, 8 at most, or write \"none\"", n.Adopt)
	}
	if err := CheckProfile(n.Profile); err != nil {
		m.add("session.profile", "session.profile: %w", err)
	}
}

func (s *Settings) validateRest(m *mistakes) {
	m.oneOf("policy", s.Policy, Policies()...)
	switch {
	case s.Policy == "header" && s.PolicyHeader == "":
		m.add("policy", "policy_header is missing: policy = \"header\" goes by a header field, such as policy_header = \"X-Tenant\"")
	case s.PolicyHeader != "" && !token(s.PolicyHeader):
		m.add("policy_header", "policy_header = %q is not the name of a header field: use letters, digits, hyphen and underscore", s.PolicyHeader)
	}
	if b := s.PolicyBound; b != 0 && (b <= 100 || b > 1000) {
		m.add("policy_bound", "policy_bound = %d is not a bound: write percent of the fair share from 101 to 1000, such as 125, or 0 for none", b)
	}
	m.within("slow_start", s.SlowStart, time.Second, time.Hour)
	for i, name := range s.Rewrite {
		m.oneOf(element("rewrite", i), cmp.Or(name, " "), Rewrites()...)
	}
	m.oneOf("underscores", s.Underscores, "drop", "pass")
	d := s.Deploy
	m.between("deploy.wave", d.Wave, 0, 10000)
	m.between("deploy.keep", d.Keep, 0, 100)
	m.within("deploy.timeout", d.Timeout, time.Second, 24*time.Hour)
	m.within("deploy.pin", d.Pin, time.Second, 365*24*time.Hour)
	m.within("deploy.grace", d.Grace, 100*time.Millisecond, time.Hour)
	l := s.Limits
	if l.Body < 0 || l.Memory < 0 {
		m.add("limits.body", "limits.body and limits.memory count bytes from zero up")
	}
	if l.Memory > 0 && l.Memory < 4<<20 {
		m.add("limits.memory", "limits.memory = %q: no process starts with less than 4MiB", l.Memory)
	}
	if l.Disk < 0 || l.Disk > 0 && l.Disk < MinDisk {
		m.add("limits.disk", "limits.disk = %q: write 1MiB or more, or 0 for no limit", l.Disk)
	}
	if l.CPU < 0 || l.CPU > 0 && l.CPU < 0.01 || l.CPU > 10_000 || l.CPU != l.CPU {
		m.add("limits.cpu", "limits.cpu = %v is no number of processors: write 0.01 to 10000, such as 1.5, or 0 for no limit", l.CPU)
	}
	m.between("limits.connections", l.Connections, 0, 1_000_000)
	m.between("limits.files", l.Files, 0, 10_000_000)
	m.between("limits.processes", l.Processes, 0, 1_000_000)
	m.within("limits.queue", l.Queue, time.Millisecond, time.Hour)
	if l.Rate != "" {
		if _, _, err := ParseRate(l.Rate); err != nil {
			m.is("limits.rate", fmt.Errorf("limits.rate: %w", err))
		}
	}
	m.oneOf("tls.mode", s.TLS.Mode, "auto", "off", "internal")
	m.oneOf("tls.redirect", s.TLS.Redirect, "auto", "on", "off")
}

// ValidHost checks one of a site's hosts: a name of letters, digits and hyphens
// with "*." allowed as its first label, or an IP address. International names are
// written in their ASCII form.
func ValidHost(host string) error {
	bad := func(why string) error {
		return fmt.Errorf("%w: host %.80q %s; write it as shop.example.com, without scheme, port or path", ErrInvalid, host, why)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	name, wild := strings.CutPrefix(host, "*.")
	if name == "" || len(name) > 253 {
		return bad("is empty or longer than 253 characters")
	}
	labels := strings.Split(name, ".")
	if wild && len(labels) < 2 {
		return bad("would match a whole top-level domain")
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return bad("has an empty, overlong or hyphen-edged label")
		}
		for _, r := range l {
			switch {
			case r > 127:
				return bad("has letters beyond ASCII, use its xn-- form")
			case r >= 'A' && r <= 'Z':
				return bad("has capitals, use lower case")
			case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			default:
				return bad(fmt.Sprintf("contains %q", r))
			}
		}
	}
	return nil
}

// ValidMount checks a mount path: it begins with a slash and is in its simplest
// form, so that the one that is matched is the one that is meant.
func ValidMount(p string) error {
	trimmed := strings.TrimSuffix(p, "/")
	if p == "/" || (strings.HasPrefix(p, "/") && path.Clean(p) == trimmed && printable(p) && !strings.ContainsAny(p, `?#%\;"<>`) && len(p) <= 255) {
		return nil
	}
	return fmt.Errorf("%w: path %.80q; write it as /shop: it begins with a slash, and has no dots, doubled slashes, escapes, spaces or query", ErrInvalid, p)
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

// token reports whether s is a token of RFC 9110 section 5.6.2.
func token(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte(`"(),/:;<=>?@[\]{}`, s[i]) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// StatusRange is a set of HTTP status codes.
type StatusRange struct {
	set [10]uint64 // bit n of the whole: code n is in
}

// Has reports whether code is in the set.
func (r StatusRange) Has(code int) bool {
	return code >= 0 && code < 64*len(r.set) && r.set[code/64]>>(code%64)&1 == 1
}

// ParseStatus reads codes and ranges separated by commas: "200-399,401".
func ParseStatus(text string) (StatusRange, error) {
	var r StatusRange
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		a, err1 := strconv.ParseUint(low, 10, 16)
		b, err2 := a, error(nil)
		if isRange {
			b, err2 = strconv.ParseUint(high, 10, 16)
		}
		if err1 != nil || err2 != nil || a < 100 || b > 599 || a > b {
			return StatusRange{}, fmt.Errorf("%w: status %.80q; write codes between 100 and 599 and ranges of them, such as \"200-399,401\"", ErrInvalid, text)
		}
		for c := a; c <= b; c++ {
			r.set[c/64] |= 1 << (c % 64)
		}
	}
	return r, nil
}

// ParseRate reads a number of requests and the time they may take: "100/s",
// "600/m" or "5000/h".
func ParseRate(text string) (requests int, per time.Duration, err error) {
	n, unit, ok := strings.Cut(text, "/")
	requests, err = strconv.Atoi(n)
	per = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if !ok || err != nil || requests <= 0 || requests > 1_000_000_000 || per == 0 || n[0] == '+' {
		return 0, 0, fmt.Errorf("%w: rate %.40q; write requests per second, minute or hour, such as \"100/s\" or \"600/m\"", ErrInvalid, text)
	}
	return requests, per, nil
}
