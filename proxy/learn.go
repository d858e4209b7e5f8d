package proxy

import (
	"net/http"
	"strings"
	"time"

	"portico/balancer"
	"portico/proxy/http1"
)

// maxAppToken is the longest token that is looked at; what is longer is no name.
const maxAppToken = 512

// fields is what a head says, for both engines.
type fields interface {
	cookie(name string) string // of a request; "" for an answer
	field(name string) string
}

type stdFields http.Header

func (h stdFields) cookie(name string) string { return cookieValue(h["Cookie"], name) }
func (h stdFields) field(name string) string  { return http.Header(h).Get(name) }

type requestFields struct{ *http1.Request }

func (r requestFields) cookie(name string) string {
	v, _ := r.Cookie(name)
	return text(v)
}
func (r requestFields) field(name string) string { return text(r.Get(strings.ToLower(name))) }

// borne returns the application's token in a request, or "".
func (p *profile) borne(f fields, target string) string {
	for _, place := range p.places {
		v := ""
		switch place.kind {
		case "cookie":
			v = strings.Trim(f.cookie(place.name), `"`)
		case "header":
			v = f.field(place.name)
		default:
			v = place.inTarget(target)
		}
		if v = place.trim(v); v != "" {
			return v
		}
	}
	return ""
}

// announced returns the token that an answer gives the visitor, or "": in a cookie,
// a header field, or the address that it sends him to.
func (p *profile) announced(setCookies []string, field func(name string) string) string {
	for _, place := range p.places {
		v := ""
		switch place.kind {
		case "cookie":
			v = setCookieValue(setCookies, place.name)
		case "header":
			v = field(place.name)
		default:
			if to := field("Location"); to != "" {
				v = place.inTarget(to)
			}
		}
		if v = place.trim(v); v != "" {
			return v
		}
	}
	return ""
}

// trim takes off the route and refuses what cannot be a token.
func (p *tokenPlace) trim(v string) string {
	if p.route {
		v, _, _ = strings.Cut(v, ".")
	}
	if len(v) > maxAppToken {
		return ""
	}
	return v
}

// inTarget looks for a query parameter, a path segment or a path parameter.
func (p *tokenPlace) inTarget(target string) string {
	if _, rest, ok := strings.Cut(target, "://"); ok {
		_, rest, _ = strings.Cut(rest, "/")
		target = "/" + rest
	}
	target, _, _ = strings.Cut(target, "#")
	path, query, _ := strings.Cut(target, "?")
	switch p.kind {
	case "query":
		for pair := range strings.SplitSeq(query, "&") {
			if n, v, ok := strings.Cut(pair, "="); ok && n == p.name {
				return v
			}
		}
	case "segment":
		for s := range strings.SplitSeq(path, "/") {
			if strings.HasPrefix(s, p.name) && len(s) > len(p.name) {
				return s
			}
		}
	case "parameter":
		for s := range strings.SplitSeq(path, "/") {
			_, parameters, _ := strings.Cut(s, ";")
			for pair := range strings.SplitSeq(parameters, ";") {
				if n, v, ok := strings.Cut(pair, "="); ok && n == p.name {
					return v
				}
			}
		}
	}
	return ""
}

// setCookieValue returns the value that an answer sets for a cookie, or "" when it
// sets none or takes it away.
func setCookieValue(setCookies []string, name string) string {
	value := ""
	for _, line := range setCookies {
		pair, attributes, _ := strings.Cut(line, ";")
		n, v, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || n != name {
			continue
		}
		value = strings.Trim(v, `"`)
		for a := range strings.SplitSeq(attributes, ";") {
			if k, age, _ := strings.Cut(strings.TrimSpace(a), "="); strings.EqualFold(k, "max-age") && (age == "0" || strings.HasPrefix(age, "-")) {
				value = ""
			}
		}
	}
	return value
}

// bears reads the application's token from a request and returns its hash; 0: none.
func (s *Server) bears(st *site, f fields, target string) uint64 {
	if len(st.profile.places) == 0 {
		return 0
	}
	if v := st.profile.borne(f, target); v != "" {
		return s.bal.HashApp([]byte(v))
	}
	return 0
}

// learn notes what an answer says of the application's session. While there is none,
// the visitor gets no cookie of ours either.
func (s *Server) learn(st *site, c *balancer.Choice, bore uint64, setCookies []string, field func(name string) string) {
	if len(st.profile.places) == 0 || c.Upstream == nil {
		return
	}
	pool, now := st.siteState.pool, s.millis(time.Now())
	if v := st.profile.announced(setCookies, field); v != "" {
		pool.Learn(c, s.bal.HashApp([]byte(v)), now)
		return
	}
	if bore != 0 {
		pool.Bear(c, bore, now)
		return
	}
	if !st.profile.silent {
		pool.Decline(c)
	}
}
