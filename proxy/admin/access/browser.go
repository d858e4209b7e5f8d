package access

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
)

// HostAllowed reports whether the Host field names this listener. Addresses
// always do: a name that an attacker's DNS points here (rebinding) is never
// one, and a page cannot choose the Host field.
func HostAllowed(host string, names map[string]bool) bool {
	name := host
	if h, port, err := net.SplitHostPort(host); err == nil {
		if !digits(port) {
			return false
		}
		name = h
	}
	name = strings.TrimSuffix(strings.ToLower(strings.Trim(name, "[]")), ".")
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return names[name]
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// PathClean reports whether the request's path is written in its one normal
// form: no dot segments, double slashes, backslashes, control bytes, and no
// encoded slash, dot or percent sign. A path with two spellings could be read
// one way by a permission and another way by its handler.
func PathClean(r *http.Request) bool {
	p := r.URL.Path
	if p == "" || p[0] != '/' || len(p) > 1024 || strings.Contains(p, "\\") || strings.Contains(p, "//") {
		return false
	}
	clean := path.Clean(p)
	if clean != p && clean+"/" != p {
		return false
	}
	for i := range len(p) {
		if p[i] < 0x20 || p[i] == 0x7f {
			return false
		}
	}
	raw := strings.ToLower(r.URL.EscapedPath())
	for _, code := range []string{"%2f", "%5c", "%2e", "%25", "%3b", "%00"} {
		if strings.Contains(raw, code) {
			return false
		}
	}
	return true
}

// changes reports whether a method may change state.
func changes(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}

// CrossSite reports why a changing request may have been made by another
// origin's page, or "".
//
// http.CrossOriginProtection looks at Sec-Fetch-Site and Origin; on top of it,
// requests that carry the login cookie must carry one of the two, because
// every browser that keeps SameSite=Strict sends at least Origin with a POST.
func CrossSite(protection *http.CrossOriginProtection, r *http.Request, byCookie bool) string {
	if !changes(r.Method) {
		return ""
	}
	if err := protection.Check(r); err != nil {
		return err.Error()
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		if !strings.EqualFold(origin, "https://"+r.Host) {
			return "the Origin field names another origin"
		}
	}
	if byCookie && r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == "" {
		return "a change by cookie needs an Origin or Sec-Fetch-Site field"
	}
	return ""
}

// MediaType returns the Content-Type's type without parameters, in lower case.
func MediaType(r *http.Request) string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// contentPolicy lets the page load its own style and script and talk to its
// own origin; nothing else, from nowhere, and in nobody's frame.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// SecureHeaders are on every answer. Strict-Transport-Security is not among
// them: it knows no ports, so it would decide for the sites on this host too.
func SecureHeaders(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // "no-referrer" would make browsers send Origin: null with forms
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
}
