package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// CookieEndings are what the names of a site's other cookies end in, behind that of
// its sticky cookie: the place in the waiting room, and that the page about a lost session
// was seen.
func CookieEndings() []string { return []string{"-place", "-notice"} }

// CheckHosts returns ErrConflict with the other site's name when a host and path
// of the settings belong to another site of the view already, or when a browser could
// not tell the cookies of both apart. s has its defaults.
func CheckHosts(v *View, site string, s Settings) error {
	var errs []error
	for _, name := range sortedKeys(v.Sites) {
		if name == site {
			continue
		}
		other, err := v.Sites[name].Effective()
		if err != nil {
			continue
		}
		errs = append(errs, checkRoutes(site, s, name, other))
		if shared := sharedCookie(s, other); shared != "" && !sharedBefore(v, site, other) {
			errs = append(errs, fmt.Errorf("%w: a cookie %q would belong to site %q and to site %q on the same host: give %q another name, or set its session.cookie, for example to %q",
				ErrConflict, shared, name, site, site, "portico-"+site+"-session"))
		}
	}
	return errors.Join(errs...)
}

func checkRoutes(site string, s Settings, name string, other Settings) error {
	if other.Path != cleanMount(s.Path) {
		return nil
	}
	var errs []error
	if len(s.Hosts) == 0 && len(other.Hosts) == 0 {
		errs = append(errs, fmt.Errorf("%w: site %q already answers on every host at path %q; give %q a host or another path", ErrConflict, name, other.Path, site))
	}
	for _, h := range s.Hosts {
		if slices.Contains(other.Hosts, strings.ToLower(strings.TrimSuffix(h, "."))) {
			errs = append(errs, fmt.Errorf("%w: host %q with path %q belongs to site %q; choose another host or path, or remove that site", ErrConflict, h, other.Path, name))
		}
	}
	return errors.Join(errs...)
}

// sharedCookie returns the name of a cookie that would be the sticky one of one of two
// sites and another one of the other, in requests that bring the cookies of both, or "".
func sharedCookie(a, b Settings) string {
	if !sharesHost(a, b) || !covers(a.Path, b.Path) && !covers(b.Path, a.Path) || a.Session.Sticky == "none" || b.Session.Sticky == "none" {
		return ""
	}
	for _, ending := range CookieEndings() {
		switch {
		case a.Session.Cookie+ending == b.Session.Cookie:
			return b.Session.Cookie
		case b.Session.Cookie+ending == a.Session.Cookie:
			return a.Session.Cookie
		}
	}
	return ""
}

// sharedBefore reports whether a site that is there has such a cookie by its present
// settings: a new name would cost its visitors their sessions, so it may go on.
func sharedBefore(v *View, site string, other Settings) bool {
	rec := v.Sites[site]
	if rec == nil || rec.Release == "" {
		return false
	}
	now, err := rec.Effective()
	return err == nil && sharedCookie(now, other) != ""
}

// sharesHost reports whether two sites answer on one host: the one that names it most
// exactly answers alone.
func sharesHost(a, b Settings) bool {
	if len(a.Hosts) == 0 || len(b.Hosts) == 0 {
		return len(a.Hosts) == len(b.Hosts)
	}
	return slices.ContainsFunc(a.Hosts, func(h string) bool {
		return slices.Contains(b.Hosts, strings.ToLower(strings.TrimSuffix(h, ".")))
	})
}

// covers reports whether a browser sends the cookies of one mount path to another.
func covers(mount, path string) bool {
	return mount == "/" || path == mount || strings.HasPrefix(path, mount+"/")
}
