package sticky

import (
	"net/http"
	"strings"

	"portico/conf/sites"
	"portico/internal/alias"
	"portico/proxy/http1"
)

// maxAppToken is the longest token that is looked at; what is longer is no name.
const maxAppToken = 512

// Fields are what a request's head says, be it under way or only explained.
type Fields interface {
	CookieValue(name string) string // "": none
	FieldValue(name string) string
}

// HeaderFields are those of an explained request.
type HeaderFields http.Header

// CookieValue implements Fields.
func (h HeaderFields) CookieValue(name string) string { return Value(h["Cookie"], name) }

// FieldValue implements Fields.
func (h HeaderFields) FieldValue(name string) string { return http.Header(h).Get(name) }

// RequestFields are those of a request that is under way.
type RequestFields struct{ *http1.Request }

// CookieValue implements Fields.
func (r RequestFields) CookieValue(name string) string {
	v, _ := r.Cookie(name)
	return alias.String(v)
}

// FieldValue implements Fields.
func (r RequestFields) FieldValue(name string) string {
	return alias.String(r.Get(strings.ToLower(name)))
}

// RequestToken returns the application's token in a request, or "".
func (p *Profile) RequestToken(f Fields, target string) string {
	for _, place := range p.Places {
		v := ""
		switch place.Kind {
		case sites.PlaceCookie:
			v = strings.Trim(f.CookieValue(place.Name), `"`)
		case sites.PlaceHeader:
			v = f.FieldValue(place.Name)
		default:
			v = place.inTarget(target)
		}
		if v = place.trim(v); v != "" {
			return v
		}
	}
	return ""
}

// AnswerToken returns the token that an answer gives the visitor, or "": in a cookie,
// a header field, or the address that it sends him to.
func (p *Profile) AnswerToken(setCookies []string, field func(name string) string) string {
	for _, place := range p.Places {
		v := ""
		switch place.Kind {
		case sites.PlaceCookie:
			v = setCookieValue(setCookies, place.Name)
		case sites.PlaceHeader:
			v = field(place.Name)
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
func (p *Place) trim(v string) string {
	if p.route {
		v, _, _ = strings.Cut(v, ".")
	}
	if len(v) > maxAppToken {
		return ""
	}
	return v
}

// inTarget looks for a query parameter, a path segment or a path parameter.
func (p *Place) inTarget(target string) string {
	if _, rest, ok := strings.Cut(target, "://"); ok {
		_, rest, _ = strings.Cut(rest, "/")
		target = "/" + rest
	}
	target, _, _ = strings.Cut(target, "#")
	path, query, _ := strings.Cut(target, "?")
	switch p.Kind {
	case sites.PlaceQuery:
		for pair := range strings.SplitSeq(query, "&") {
			if n, v, ok := strings.Cut(pair, "="); ok && n == p.Name {
				return v
			}
		}
	case sites.PlaceSegment:
		for s := range strings.SplitSeq(path, "/") {
			if strings.HasPrefix(s, p.Name) && len(s) > len(p.Name) {
				return s
			}
		}
	case sites.PlaceParameter:
		for s := range strings.SplitSeq(path, "/") {
			_, parameters, _ := strings.Cut(s, ";")
			for pair := range strings.SplitSeq(parameters, ";") {
				if n, v, ok := strings.Cut(pair, "="); ok && n == p.Name {
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

// Hide takes the tokens out of a path that people see.
func (p *Profile) Hide(path string) string {
	for _, place := range p.Places {
		if place.Kind != sites.PlaceSegment && place.Kind != sites.PlaceParameter {
			continue
		}
		v := place.inTarget(path)
		if v != "" && place.Kind == sites.PlaceSegment {
			v = v[len(place.Name):]
		}
		if v != "" {
			path = strings.ReplaceAll(path, v, "***")
		}
	}
	return path
}
