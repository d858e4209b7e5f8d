package sites

import (
	"slices"
	"strings"
)

// CookieEndings are what the names of a site's other cookies end in, behind that of
// its sticky cookie: the place in the waiting room, and that the page about a lost session
// was seen.
func CookieEndings() []string { return []string{"-place", "-notice"} }

// AdminCookie is the cookie of the admin page's login. Browsers send it to every port of a
// host: it is taken out of requests to sites, and sites can neither set it nor use its name.
const AdminCookie = "__Host-portico-admin"

// SharedCookie returns the name of a cookie that would be the sticky one of one of two
// sites and another one of the other, in requests that bring the cookies of both, or "".
func SharedCookie(a, b Settings) string {
	if a.Session.Sticky == StickyNone || b.Session.Sticky == StickyNone {
		return ""
	}
	name := alike(a.Session.Cookie, b.Session.Cookie)
	if name == "" || !sharesHost(a, b) || !Covers(a.Path, b.Path) && !Covers(b.Path, a.Path) {
		return ""
	}
	return name
}

// CookiesLike returns the names of sticky cookies that are alike with that one: named after it, or it after them.
func CookiesLike(name string) (list []string) {
	for _, ending := range CookieEndings() {
		list = append(list, name+ending)
		if base, ok := strings.CutSuffix(name, ending); ok {
			list = append(list, base)
		}
	}
	return list
}

// alike returns the one of two names of sticky cookies that is named after the other, or "".
func alike(a, b string) string {
	for _, ending := range CookieEndings() {
		switch {
		case strings.TrimSuffix(b, ending) == a && b != a:
			return b
		case strings.TrimSuffix(a, ending) == b && a != b:
			return a
		}
	}
	return ""
}

// sharesHost reports whether two sites answer on one host: the one that names it most
// exactly answers alone.
func sharesHost(a, b Settings) bool {
	theirs := HostsOf(b)
	return slices.ContainsFunc(HostsOf(a), func(h string) bool { return slices.Contains(theirs, h) })
}

// Covers reports whether a browser sends the cookies of one mount path to another.
func Covers(mount, path string) bool {
	return mount == "/" || path == mount || strings.HasPrefix(path, mount+"/")
}
