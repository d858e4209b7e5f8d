package proxy

import (
	"net/http"
	"slices"
	"strings"
	"unsafe"

	"portico/balancer"
	"portico/membership/catalog"
)

// maxStickyValues is how many cookies of the sticky name are looked at; a client
// that sends more is not one that portico gave them to.
const maxStickyValues = 4

// The sticky cookie's name and one of these endings name portico's other cookies: the place
// in the waiting room, and that the page about a lost session was seen. The catalog refuses
// another site's sticky cookie of that name by the same list.
const (
	placeEnding  = "-place"
	noticeEnding = "-notice"
)

// adminCookie is of the admin page, which shares its host name with sites.
const adminCookie = catalog.AdminCookie

var ownEndings = catalog.CookieEndings()

// isOwn reports whether a cookie is one of portico's, beside the sticky one.
func isOwn(name, sticky string) bool {
	ending, ok := strings.CutPrefix(name, sticky)
	return ok && slices.Contains(ownEndings, ending)
}

// takeCookie splits what a client's Cookie fields hold into the values of one
// cookie and everything else, which is what the instance may see. The cookie, and those
// named after it, are portico's own: no application gets to read it, or to send a visitor elsewhere
// by repeating it. The admin page's login cookie reaches no application either: cookies know no ports,
// so browsers send it to the sites of the same host.
func takeCookie(fields []string, name string) (values [][]byte, rest []string) {
	found := false
	for _, f := range fields {
		if strings.Contains(f, name) || strings.Contains(f, adminCookie) {
			found = true
		}
	}
	if !found {
		return nil, fields
	}
	for _, f := range fields {
		var kept strings.Builder
		for part := range strings.SplitSeq(f, ";") {
			part = strings.Trim(part, " \t")
			n, v, ok := strings.Cut(part, "=")
			if ok && n == name {
				if len(values) < maxStickyValues && len(v) <= balancer.MaxCookieLen {
					values = append(values, []byte(strings.Trim(v, `"`)))
				} else if len(values) == 0 {
					values = append(values, []byte("?")) // too long to be one: refused as malformed
				}
				continue
			}
			if part == "" || ok && (isOwn(n, name) || n == adminCookie) {
				continue
			}
			if kept.Len() > 0 {
				kept.WriteString("; ")
			}
			kept.WriteString(part)
		}
		if kept.Len() > 0 {
			rest = append(rest, kept.String())
		}
	}
	return values, rest
}

// fleeting reports whether a request without a session should begin none: a browser's preflight never
// bears a cookie (Fetch standard, 4.8), and who asks for heads or options alone is a monitor or a robot as
// a rule. Where the application's token is looked for, the answer to HEAD may bring one.
func (st *site) fleeting(method string) bool {
	return method == http.MethodOptions || method == http.MethodHead && len(st.profile.places) == 0
}

// setCookie returns the Set-Cookie field that pins a visitor.
func (st *site) setCookie(c *balancer.Choice, secure bool) string {
	var b strings.Builder
	var value [balancer.MaxCookieLen]byte
	b.Grow(len(st.cookie) + balancer.MaxCookieLen + 64)
	b.WriteString(st.cookie)
	b.WriteByte('=')
	b.Write(st.siteState.pool.AppendCookie(value[:0], c))
	b.WriteString("; Path=")
	b.WriteString(st.mount)
	b.WriteString("; HttpOnly")
	if secure {
		b.WriteString("; Secure")
	}
	// Browsers drop SameSite=None without Secure, so plain HTTP gets Lax.
	if st.sameSite == "None" && !secure {
		b.WriteString("; SameSite=Lax")
	} else {
		b.WriteString("; SameSite=")
		b.WriteString(st.sameSite)
	}
	return b.String()
}

// privateCache returns Cache-Control for an answer that carries a visitor's
// cookie: a shared cache must not keep it, or it would hand one visitor's pin to
// everybody. Browsers may cache as before.
func privateCache(values []string) string {
	kept := make([]string, 0, 4)
	private := false
	connectionTokens(values, func(d string) {
		name, _, _ := strings.Cut(d, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "public", "s-maxage":
			return
		case "private", "no-store":
			private = true
		}
		kept = append(kept, d)
	})
	if !private {
		kept = append(kept, "private")
	}
	return strings.Join(kept, ", ")
}

// policyHash is what the policies source, header and uri go by; 0: the header field is
// missing. It is the same on every proxy, so that they agree.
func (st *site) policyHash(c *Client, path string, field func(name string) string) uint64 {
	switch st.hash {
	case balancer.Source:
		a := c.Addr.As16()
		return balancer.Hash(a[:])
	case balancer.URI:
		return balancer.Hash(bytesOf(path))
	case balancer.Header:
		if v := field(st.hashBy); v != "" {
			return balancer.Hash(bytesOf(v))
		}
	}
	return 0
}

// bytesOf returns the bytes of a string, which must not be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
