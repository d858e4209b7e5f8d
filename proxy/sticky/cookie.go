// Package sticky reads and writes what ties a visitor to an instance: portico's own cookies, the
// application's session token, and what the balancer before had told the visitor's browser.
package sticky

import (
	"fmt"
	"strings"
	"time"

	"portico/balancer/seal"
	"portico/conf/sites"
)

// MaxValues is how many cookies of the sticky name are looked at; a client
// that sends more is not one that portico gave them to.
const MaxValues = 4

// The sticky cookie's name and one of these endings name portico's other cookies: the place
// in the waiting room, and that the page about a lost session was seen. The catalog refuses
// another site's sticky cookie of that name by the same list.
const (
	placeEnding  = "-place"
	noticeEnding = "-notice"
)

// Endings are all of these.
var Endings = sites.CookieEndings() // read only

// AdminCookie is of the admin page, which shares its host name with sites.
const AdminCookie = sites.AdminCookie

// Cookie is the sticky cookie of a site, and those that are named after it.
type Cookie struct {
	Name     string
	Place    string // name of the cookie that keeps a place in the waiting room
	Notice   string // name of the one that says that the page about a lost session was seen
	path     string // the site's mount path
	sameSite string // as it is sent: "Lax", "Strict" or "None"

	partitioned bool // they belong to the site in whose frame they were set (CHIPS)
}

// NewCookie returns the cookies of a site at a path.
func NewCookie(path string, s sites.Session) Cookie {
	c := Cookie{Name: s.Cookie, Place: s.Cookie + placeEnding, Notice: s.Cookie + noticeEnding, path: path, sameSite: "Lax", partitioned: s.Partitioned}
	switch s.SameSite {
	case sites.SameSiteStrict:
		c.sameSite = "Strict"
	case sites.SameSiteNone:
		c.sameSite = "None"
	}
	return c
}

// Set returns the Set-Cookie field that pins a visitor.
func (c *Cookie) Set(value []byte, secure bool) string {
	var b strings.Builder
	b.Grow(len(c.Name) + seal.MaxCookieLen + 64)
	b.WriteString(c.Name)
	b.WriteByte('=')
	b.Write(value)
	b.WriteString("; Path=")
	b.WriteString(c.path)
	b.WriteString("; HttpOnly")
	if secure {
		b.WriteString("; Secure")
	}
	b.WriteString("; SameSite=")
	b.WriteString(c.sameSiteOn(secure))
	if c.partitioned && secure {
		b.WriteString("; Partitioned")
	}
	return b.String()
}

// sameSiteOn is the attribute on a connection: browsers drop SameSite=None without Secure, so plain HTTP gets Lax.
func (c *Cookie) sameSiteOn(secure bool) string {
	if c.sameSite == "None" && !secure {
		return "Lax"
	}
	return c.sameSite
}

// TakeBack returns the Set-Cookie field that takes the sticky cookie back.
func (c *Cookie) TakeBack(secure bool) string {
	return c.Name + "=; Path=" + c.path + "; Max-Age=0; HttpOnly; SameSite=" + c.sameSiteOn(secure) + c.tail(secure)
}

// KeepPlace returns the Set-Cookie field that keeps a place in the waiting room, or takes it back.
func (c *Cookie) KeepPlace(ticket string, age time.Duration, secure bool) string {
	return fmt.Sprintf("%s=%s; Path=%s; Max-Age=%d; HttpOnly; SameSite=%s", c.Place, ticket, c.path, int(age/time.Second), c.besideOn(secure)) + c.tail(secure)
}

// Noticed returns the Set-Cookie field that says that the page about the loss of token's session was seen.
func (c *Cookie) Noticed(token string, secure bool) string {
	return c.Notice + "=" + token + "; Path=" + c.path + "; Max-Age=300; HttpOnly; SameSite=" + c.besideOn(secure) + c.tail(secure)
}

// besideOn is SameSite of the cookies beside the sticky one: Lax, but in frames of other sites, which partitioned
// cookies are for, browsers would not send them.
func (c *Cookie) besideOn(secure bool) string {
	if c.partitioned {
		return c.sameSiteOn(secure)
	}
	return "Lax"
}

// tail are the attributes that only TLS has. A partitioned cookie is another one than that of the same name
// without the attribute, so taking it back needs it too.
func (c *Cookie) tail(secure bool) string {
	switch {
	case secure && c.partitioned:
		return "; Secure; Partitioned"
	case secure:
		return "; Secure"
	}
	return ""
}

// Values returns the values of a cookie in a request's Cookie fields.
func Values(fields []string, name string) (values [][]byte) {
	for _, f := range fields {
		for part := range strings.SplitSeq(f, ";") {
			if n, v, ok := strings.Cut(strings.Trim(part, " \t"), "="); ok && n == name && len(values) < MaxValues {
				values = append(values, []byte(strings.Trim(v, `"`)))
			}
		}
	}
	return values
}

// Value returns the first value of a cookie in a request's Cookie fields.
func Value(fields []string, name string) string {
	for _, f := range fields {
		for part := range strings.SplitSeq(f, ";") {
			if n, v, ok := strings.Cut(strings.Trim(part, " \t"), "="); ok && n == name {
				return v
			}
		}
	}
	return ""
}

// PrivateCache returns Cache-Control for an answer that carries a visitor's
// cookie: a shared cache must not keep it, or it would hand one visitor's pin to
// everybody. Browsers may cache as before.
func PrivateCache(values []string) string {
	kept := make([]string, 0, 4)
	private := false
	for _, v := range values {
		for d := range strings.SplitSeq(v, ",") {
			if d = strings.Trim(d, " \t"); d == "" {
				continue
			}
			name, _, _ := strings.Cut(d, "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "public", "s-maxage":
				continue
			case "private", "no-store":
				private = true
			}
			kept = append(kept, d)
		}
	}
	if !private {
		kept = append(kept, "private")
	}
	return strings.Join(kept, ", ")
}

// SessionName is how logs and pages name a session. It opens nothing: a cookie needs the
// seal.
func SessionName(id uint64) string { return fmt.Sprintf("%016x", id) }
