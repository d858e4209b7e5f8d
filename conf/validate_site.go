package conf

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"portico/conf/sites"
)

// sites checks every static site, and that no two answer the same host and
// path.
func (k *checker) sites(list []Site) {
	names, routes := map[string]int{}, map[string]int{}
	cookies := map[string][]int{} // sites by their sticky cookies: of thousands, hardly two have names alike
	full := make([]sites.Settings, len(list))
	for i, s := range list {
		full[i] = s.Settings()
		path := index("site", i)
		k.siteName(path, s.Name, i, names)
		k.settings(path, s.Front.Validate())
		k.settings(path, s.Limits.Validate())
		if d := s.IdleTimeout.Std(); d < 0 || d > time.Hour {
			k.wrong(path+".idle_timeout", "%v is not between 0s and 1h", s.IdleTimeout)
		}
		k.routes(path, list, full[i], i, routes)
		k.upstreams(path, s.Upstreams)
		for _, o := range likeCookies(cookies, full[i].Session.Cookie) {
			k.cookies(path, full[i], full[o], list[o].Name)
		}
		cookies[full[i].Session.Cookie] = append(cookies[full[i].Session.Cookie], i)
	}
}

// settings takes what is wrong with the settings of the site at path.
func (k *checker) settings(path string, found sites.Mistakes) {
	for _, m := range found {
		k.mistakes = append(k.mistakes, Mistake{Key: path + "." + m.Key, Message: m.Below()})
	}
}

// likeCookies returns the sites whose cookies have a name like that one, in their order.
func likeCookies(cookies map[string][]int, name string) (list []int) {
	for _, like := range sites.CookiesLike(name) {
		list = append(list, cookies[like]...)
	}
	slices.Sort(list)
	return list
}

// cookies checks that a browser can tell the cookies of two sites apart: those of a site
// are its sticky cookie and those named after it.
func (k *checker) cookies(path string, mine, theirs sites.Settings, other string) {
	if sites.SharedCookie(mine, theirs) != "" {
		k.wrong(path+".session.cookie", "%q is too like %q of site %q on the same host, whose other cookies are named after it: choose another one",
			clip(mine.Session.Cookie), clip(theirs.Session.Cookie), clip(other))
	}
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

// routes checks that no site before has a host and path of the site number i; taken has whose they are.
func (k *checker) routes(path string, list []Site, set sites.Settings, i int, taken map[string]int) {
	for n, h := range sites.HostsOf(set) {
		at := index(path+".hosts", n)
		if h == sites.AnyHost {
			at = path + ".name"
		}
		mount := strings.TrimSuffix(set.Path, "/") + "/"
		if other, ok := taken[h+mount]; ok && other != i {
			k.wrong(at, "%s with path %s is taken by site %q already", h, mount, list[other].Name)
			continue
		}
		taken[h+mount] = i
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
	if u.Cookie != "" && (!ok || name == "" || !sites.Token(name) || !cookieValue(value)) {
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
