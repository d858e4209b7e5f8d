package conf

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/internal/units"
)

// policies are how new sessions can be placed: the names of catalog.Policies,
// which a test compares, because this package imports nothing of the kind.
var policies = []string{"least-sessions", "round-robin", "least-connections", "random", "source", "header", "uri", "first"}

// rewrites are the names of catalog.Rewrites.
var rewrites = []string{"location", "content-location", "refresh", "link", "cookie-path", "cookie-domain"}

// profiles and tokenPlaces are what session.profile may say, as the catalog knows them.
var (
	profiles    = []string{"tomcat", "servoy", "php", "aspnet", "webdev", "express"}
	tokenPlaces = []string{"cookie", "header", "query", "segment", "parameter"}
)

// sites checks every static site, and that no two answer the same host and
// path.
func (k *checker) sites(sites []Site) {
	names, routes := map[string]int{}, map[string]string{}
	for i, s := range sites {
		path := index("site", i)
		k.siteName(path, s.Name, i, names)
		k.routes(path, s, routes)
		k.siteSettings(path, s)
		k.upstreams(path, s.Upstreams)
		for _, other := range sites[:i] {
			k.cookies(path, s, other)
		}
	}
}

// cookies checks that a browser can tell the cookies of two sites apart: those of a site
// are its sticky cookie and those named after it.
func (k *checker) cookies(path string, s, other Site) {
	if s.Session.Sticky == "none" || other.Session.Sticky == "none" || !sharesHost(s.Hosts, other.Hosts) || !nested(s.Path, other.Path) {
		return
	}
	name, theirs := stickyCookie(s), stickyCookie(other)
	for _, ending := range []string{"-place", "-notice"} {
		if name == theirs+ending || theirs == name+ending {
			k.wrong(path+".session.cookie", "%q is too like %q of site %q on the same host, whose other cookies are named after it: choose another one", clip(name), clip(theirs), clip(other.Name))
		}
	}
}

func stickyCookie(s Site) string {
	if s.Session.Cookie != "" {
		return s.Session.Cookie
	}
	return "portico-" + s.Name
}

// nested reports whether a browser sends the cookies of one mount path to the other.
func nested(a, b string) bool {
	a, b = strings.TrimSuffix(a, "/")+"/", strings.TrimSuffix(b, "/")+"/"
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}

// sharesHost reports whether some host is one of both sites'.
func sharesHost(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	return slices.ContainsFunc(a, func(h string) bool { return slices.Contains(b, h) })
}

func (k *checker) siteName(path, name string, i int, names map[string]int) {
	switch first, twice := names[name]; {
	case name == "":
		k.wrong(path+".name", "is missing: name the site, such as shop")
	case !validLabel(name) || name != strings.ToLower(name):
		k.wrong(path+".name", "%q is not a site name: lower-case letters, digits and hyphens, at most 63", clip(name))
	case twice:
		k.wrong(path+".name", "%q is the name of the site number %d already", name, first+1)
	default:
		names[name] = i
	}
}

func (k *checker) routes(path string, s Site, routes map[string]string) {
	mount := s.Path
	if mount == "" {
		mount = "/"
	}
	if !strings.HasPrefix(mount, "/") || strings.Contains(mount, "//") || strings.ContainsAny(mount, "?#\\ ") || !plain(mount) ||
		strings.Contains(mount+"/", "/../") || strings.Contains(mount+"/", "/./") {
		k.wrong(path+".path", "%q is not a mount path: it begins with / and has no // .. ? or #", clip(mount))
		return
	}
	mount = strings.TrimSuffix(mount, "/") + "/"
	hosts := s.Hosts
	if len(hosts) == 0 {
		hosts = []string{"*"}
	}
	for i, h := range hosts {
		at := index(path+".hosts", i)
		if len(s.Hosts) == 0 {
			at = path + ".name"
		} else if !validHost(h, true) || h != strings.ToLower(h) {
			k.wrong(at, "%q is not a host: write it in lower case without scheme, port and path, such as shop.example.com or *.example.com", clip(h))
			continue
		}
		route := strings.TrimSuffix(h, ".") + mount
		if other, taken := routes[route]; taken {
			k.wrong(at, "%s with path %s is taken by site %q already", h, strings.TrimSuffix(mount, "/")+"/", other)
			continue
		}
		routes[route] = s.Name
	}
}

func (k *checker) siteSettings(path string, s Site) {
	k.optional(path+".policy", s.Policy, policies...)
	switch {
	case s.Policy == "header" && s.PolicyHeader == "":
		k.wrong(path+".policy_header", "is missing: policy \"header\" goes by a header field, such as policy_header = \"X-Tenant\"")
	case s.PolicyHeader != "" && !token(s.PolicyHeader):
		k.wrong(path+".policy_header", "%q is not the name of a header field: letters, digits, hyphen and underscore", clip(s.PolicyHeader))
	}
	if b := s.PolicyBound; b != 0 && (b <= 100 || b > 1000) {
		k.wrong(path+".policy_bound", "%d is not a bound: write percent of the fair share from 101 to 1000, such as 125, or 0 for none", b)
	}
	if d := s.SlowStart.Std(); d < 0 || d > time.Hour {
		k.wrong(path+".slow_start", "%v is not between 0s and 1h", s.SlowStart)
	}
	for i, name := range s.Rewrite {
		k.oneOf(index(path+".rewrite", i), name, rewrites...)
	}
	k.optional(path+".underscores", s.Underscores, "drop", "pass")
	if d := s.IdleTimeout.Std(); d < 0 || d > time.Hour {
		k.wrong(path+".idle_timeout", "%v is not between 0s and 1h", s.IdleTimeout)
	}
	k.optional(path+".health.type", s.Health.Type, "http", "tcp")
	k.optional(path+".session.sticky", s.Session.Sticky, "cookie", "none")
	k.optional(path+".session.samesite", s.Session.SameSite, "lax", "strict", "none")
	k.optional(path+".session.connection", s.Session.Connection, "shared", "private")
	k.profile(path+".session.profile", s.Session.Profile)
	if names := strings.Fields(s.Session.Adopt); len(names) > 8 || slices.ContainsFunc(names, func(s string) bool { return !token(s) }) {
		k.wrong(path+".session.adopt", "%q is no list of cookie names: separate them by blanks, 8 at most, or write \"none\"", clip(s.Session.Adopt))
	}
	k.optional(path+".tls.mode", s.TLS.Mode, "auto", "off", "internal")
	k.optional(path+".tls.redirect", s.TLS.Redirect, "auto", "on", "off")
	if p := s.Health.Path; p != "" && (!strings.HasPrefix(p, "/") || strings.ContainsAny(p, " #") || !plain(p)) {
		k.wrong(path+".health.path", "%q is not a path: it begins with / and has no blanks", clip(p))
	}
	if s.Health.Host != "" && !validHost(s.Health.Host, false) {
		k.wrong(path+".health.host", "%q is not a host name", clip(s.Health.Host))
	}
	if s.Health.Status != "" && !validStatus(s.Health.Status) {
		k.wrong(path+".health.status", "%q is not a list of codes: write 200, 200-399 or 200,204,301-302", clip(s.Health.Status))
	}
	k.between(path+".health.rise", s.Health.Rise, 0, 1000)
	k.between(path+".health.fall", s.Health.Fall, 0, 1000)
	if d := s.Session.Patience.Std(); d != 0 && (d < 100*time.Millisecond || d > 24*time.Hour) {
		k.wrong(path+".session.patience", "%s is not between 100ms and 24h", d)
	}
	k.between(path+".session.max", s.Session.Max, 0, 10_000_000)
	k.between(path+".limits.connections", s.Limits.Connections, 0, 10_000_000)
	k.between(path+".session.rebalance", s.Session.Rebalance, 0, 1_000_000)
	if p := s.Session.Logout; p != "" && (!strings.HasPrefix(p, "/") || strings.ContainsAny(p, " #?") || !plain(p)) {
		k.wrong(path+".session.logout", "%q is not a path: it begins with / and has no blanks and no ?", clip(p))
	}
	if s.Session.Cookie != "" && !token(s.Session.Cookie) {
		k.wrong(path+".session.cookie", "%q is not a cookie name: letters, digits, - and _", clip(s.Session.Cookie))
	}
	if s.Limits.Rate != "" && !validRate(s.Limits.Rate) {
		k.wrong(path+".limits.rate", "%q is not a rate: write a number and the time, such as 100/s or 600/m", clip(s.Limits.Rate))
	}
	if s.Health.Timeout > 0 && s.Health.Interval > 0 && s.Health.Timeout > 10*s.Health.Interval {
		k.wrong(path+".health.timeout", "%v is more than ten intervals of %v: checks would pile up", s.Health.Timeout, s.Health.Interval)
	}
	if d := s.Health.Interval; d > 0 && d < units.Duration(1e8) {
		k.wrong(path+".health.interval", "%v is too short: at least 100ms", d)
	}
}

func (k *checker) upstreams(site string, upstreams []Upstream) {
	if len(upstreams) == 0 {
		k.wrong(site+".upstream", "is missing: a static site needs at least one [[site.upstream]] with name and addr")
	}
	names, addrs, routes := map[string]bool{}, map[string]string{}, map[string]string{}
	for i, u := range upstreams {
		path := index(site+".upstream", i)
		switch {
		case u.Name == "":
			k.wrong(path+".name", "is missing: name the application server; the name stays when its address changes")
		case !validLabel(u.Name):
			k.wrong(path+".name", "%q is not an upstream name: letters, digits and hyphens, at most 63", clip(u.Name))
		case names[u.Name]:
			k.wrong(path+".name", "%q is used twice in this site", u.Name)
		}
		names[u.Name] = true
		k.target(path+".addr", u.Addr, "10.0.0.5:8080")
		if other := addrs[u.Addr]; other != "" && u.Addr != "" {
			k.wrong(path+".addr", "%s is the address of upstream %q already", clip(u.Addr), other)
		}
		addrs[u.Addr] = u.Name
		k.between(path+".weight", u.Weight, 0, 256)
		k.between(path+".connections", u.Connections, 0, 10_000_000)
		k.formerNames(path, u, routes)
		k.zone(path+".zone", u.Zone)
	}
}

// formerNames checks what the balancer before called an upstream: no two may have had the same name.
func (k *checker) formerNames(path string, u Upstream, taken map[string]string) {
	name, value, ok := strings.Cut(u.Cookie, ":")
	if u.Cookie != "" && (!ok || name == "" || !token(name) || !cookieValue(value)) {
		k.wrong(path+".cookie", "%q is not a cookie with its value: write name, colon and value, such as SRV:s1", clip(u.Cookie))
	}
	if u.Route != "" && (!cookieValue(u.Route) || strings.ContainsAny(u.Route, "~|")) {
		k.wrong(path+".route", "%q is not a route: write what stands behind the dot of JSESSIONID, such as node1", clip(u.Route))
	}
	for key, v := range map[string]string{".route": cmp.Or(u.Route, u.Name), ".cookie": u.Cookie} {
		if other := taken[key+v]; other != "" && other != u.Name && v != "" {
			k.wrong(path+key, "%q is of upstream %q already", clip(v), other)
		}
		taken[key+v] = u.Name
	}
}

// cookieValue reports whether s can be the value of a cookie (RFC 6265 section 4.1.1).
func cookieValue(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\",;\\", c) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= 256
}

// profile checks the name of a product, or places such as "cookie:SID query:sid".
func (k *checker) profile(path, value string) {
	if !strings.Contains(value, ":") {
		k.optional(path, value, profiles...)
		return
	}
	for _, word := range strings.Fields(value) {
		kind, name, _ := strings.Cut(word, ":")
		if !slices.Contains(tokenPlaces, kind) || !token(strings.Trim(name, "()")) || name == "" {
			k.wrong(path, "%q is no place of a token: write %s, a colon and a name", clip(word), strings.Join(tokenPlaces, ", "))
		}
	}
}

// optional is oneOf for a setting that may be left out.
func (k *checker) optional(path, value string, allowed ...string) {
	if value != "" {
		k.oneOf(path, value, allowed...)
	}
}

// token reports whether s is a token of RFC 9110 section 5.6.2, short and
// without the characters that HAProxy's configuration gives a meaning.
func token(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.", c) >= 0) {
			return false
		}
	}
	return len(s) <= 64
}

func validStatus(list string) bool {
	for item := range strings.SplitSeq(list, ",") {
		low, high, ranged := strings.Cut(strings.TrimSpace(item), "-")
		if !ranged {
			high = low
		}
		a, err1 := strconv.Atoi(low)
		b, err2 := strconv.Atoi(high)
		if err1 != nil || err2 != nil || a < 100 || b > 599 || a > b {
			return false
		}
	}
	return true
}

func validRate(rate string) bool {
	n, unit, ok := strings.Cut(rate, "/")
	count, err := strconv.Atoi(n)
	return ok && err == nil && count > 0 && (unit == "s" || unit == "m" || unit == "h")
}
