// Package explain says step by step where a request would go now, and why. It asks what the data path asks, and changes nothing.
package explain

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"portico/balancer"
	"portico/conf/sites"
	"portico/proxy/forward"
	"portico/proxy/http1"
	"portico/proxy/route"
	"portico/proxy/site"
	"portico/proxy/sticky"
)

// Step is one decision on the way of a request.
type Step struct {
	Step   string `json:"step"`   // "host", "site", "cookie", "instance" …
	Result string `json:"result"` // in a few words
	Detail string `json:"detail,omitempty"`
}

// Ask is a request that is to be explained. Only URL is required.
type Ask struct {
	URL    string
	Method string      // default GET
	Header http.Header // fields of the request; its Host is the URL's
	Cookie string      // a whole Cookie field, or the value of the site's sticky cookie alone
	From   netip.Addr  // of the peer; zero: somebody who has no request under way
}

// explanation is one call of explainRequest.
type explanation struct {
	h      *forward.Handler
	a      Ask
	st     *site.Site
	host   string
	raw    string // path as it came
	path   string // normalized
	target string
	client forward.Client
	now    time.Time
	pick   balancer.Request
	steps  []Step

	adopted string // what names an instance as the balancer before did
}

func (e *explanation) say(step, result, format string, args ...any) {
	e.steps = append(e.steps, Step{step, result, fmt.Sprintf(format, args...)})
}

// Request says step by step where a request would go now, and why. It sends nothing,
// counts nothing, begins no session and takes no place in the waiting room.
func Request(h *forward.Handler, a Ask) ([]Step, error) {
	u, err := url.Parse(a.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("explain %q: write a whole URL, such as https://shop.example.com/basket", a.URL)
	}
	a.Method = cmp.Or(a.Method, http.MethodGet)
	if a.Header == nil {
		a.Header = http.Header{}
	}
	e := &explanation{h: h, a: a, now: h.Clock.Now(), raw: cmp.Or(u.EscapedPath(), "/")}
	e.target = e.raw
	if u.RawQuery != "" {
		e.target += "?" + u.RawQuery
	}
	if e.route(u) && e.admit(u) {
		e.visitor()
		e.choose()
	}
	return e.steps, nil
}

// route finds the site; it reports whether there is one.
func (e *explanation) route(u *url.URL) bool {
	t := e.h.Table.Load()
	host, ok := route.ParseHost(u.Host)
	if !ok {
		e.say("host", "refused", "%q is not a valid Host: 400", u.Host)
		return false
	}
	e.host = host
	e.say("host", host, "%s", t.Why(host))
	if e.path, ok = route.NormalizePath(e.raw); !ok {
		e.say("path", "refused", "%q is not a valid path: 400", e.raw)
		return false
	}
	e.say("path", e.path, "matched in this form, forwarded as it came")
	entry := t.Lookup(host, e.path)
	if entry == nil {
		e.say("site", "none", "no site answers for this host and path: 404")
		return false
	}
	e.st = entry.Site
	e.say("site", e.st.Name, "mount path %s, catalog revision %d", e.st.Mount, t.Revision)
	if e.st.HTTP2 {
		e.say("protocol", "h2c", "instances speak HTTP/2; a WebSocket needs one that offers extended CONNECT (RFC 8441), else the answer is 502")
	}
	if u.Scheme == "https" && e.st.TLSMode == sites.TLSOff {
		e.say("tls", "refused", "the site is not served over TLS (tls.mode = \"off\"): 421")
		return false
	}
	if e.st.Strip {
		e.say("rewrite", route.StripMount(e.raw, e.path, e.st.Mount), "the mount path is taken off; X-Forwarded-Prefix says so (strip = true)")
	}
	return true
}

// admit goes through what can answer before an instance is looked for; it reports
// whether nothing does.
func (e *explanation) admit(u *url.URL) bool {
	st, secure := e.st, u.Scheme == "https"
	if m := e.a.Method; m == http.MethodConnect || m == http.MethodTrace || m == "TRACK" {
		e.say("method", "refused", "%s is not served here: 405", m)
		return false
	}
	e.client = forward.Client{Proto: u.Scheme, Host: u.Host}
	if e.a.From.IsValid() {
		e.client = forward.Identify(netip.AddrPortFrom(e.a.From, 0), secure, u.Host, "", e.a.Header, e.h.Trusted)
		why := "the peer itself"
		if e.client.Addr != e.client.Peer {
			why = "as X-Forwarded-For says, from a trusted proxy at " + e.client.Peer.String()
		} else if e.a.Header.Get("X-Forwarded-For") != "" {
			why = "the peer itself: it is none of proxy.trusted_proxies, so its X-Forwarded-For is not believed"
		}
		e.say("client", e.client.Addr.String(), "%s", why)
	}
	if e.client.Proto == "http" {
		if to := e.h.Front.RedirectToTLS(&st.Rule, e.host, e.target); to != "" {
			e.say("redirect", to, "308, because a certificate can be served (redirect = %q)", st.Redirect)
			return false
		}
	}
	if st.Private {
		e.say("connection", "private", "the client's connection has connections to instances for itself, HTTP/2 is refused with HTTP_1_1_REQUIRED (session.connection = \"private\")")
	}
	e.fields()
	if st.Rate.PerSecond > 0 {
		e.say("rate", "limited", "%g requests a second for each client address, up to %d at once; beyond it 429", st.Rate.PerSecond, st.Rate.Burst)
	}
	return true
}

// fields tells which of the request's an instance does not get for the underscore in their names.
func (e *explanation) fields() {
	for _, name := range slices.Sorted(maps.Keys(e.a.Header)) {
		switch {
		case !aliasable(name):
		case http1.Aliases(name):
			e.say("field", name, "dropped: to a program behind CGI it is another name of a field that only a proxy sets or acts on")
		case !e.st.Underscores:
			e.say("field", name, "dropped: its name has an underscore (underscores = \"drop\")")
		}
	}
}

// visitor reads what tells who asks: cookies, the application's token, a ticket.
func (e *explanation) visitor() {
	st := e.st
	fields := slices.Clone(e.a.Header["Cookie"])
	if c := e.a.Cookie; strings.Contains(c, "=") {
		fields = append(fields, c)
	} else if c != "" {
		fields = append(fields, st.Cookie.Name+"="+c)
	}
	e.a.Header = e.a.Header.Clone()
	e.a.Header["Cookie"] = fields
	values := sticky.Values(fields, st.Cookie.Name)
	e.pick = balancer.Request{Now: e.now.UnixMilli(), Patient: true, Fleeting: st.Fleeting(e.a.Method), Hash: st.PolicyHash(e.client.Addr, e.path, e.a.Header.Get)}
	if e.client.Addr.IsValid() {
		addr := e.client.Addr.As16()
		e.pick.Visitor = e.h.Balancer.HashVisitor(addr[:], []byte(e.a.Header.Get("User-Agent")))
	} else if st.Hash == sites.PolicySource {
		e.pick.Hash = 0
	}
	if !st.Sticky {
		e.say("session", "none", "the site is not sticky (session.sticky = \"none\")")
		return
	}
	if len(values) > 0 {
		e.pick.Cookie, e.pick.Others = values[0], values[1:]
	} else {
		e.say("cookie", "none", "no cookie %s in the request", st.Cookie.Name)
	}
	e.token()
	if len(values) == 0 {
		if e.pick.Cookie, e.adopted = st.Adopt(e.pick.App, sticky.HeaderFields(e.a.Header), e.target); e.adopted != "" {
			e.say("adopt", "found", "%s names an instance as the balancer before did", e.adopted)
		}
	}
	if st.AsksTicket() {
		e.pick.Ticket = []byte(sticky.Value(fields, st.Cookie.Place))
	}
}

// token looks for the application's own session token.
func (e *explanation) token() {
	if len(e.st.Profile.Places) == 0 {
		return
	}
	for _, place := range e.st.Profile.Places {
		one := sticky.Profile{Places: []sticky.Place{place}}
		if v := one.RequestToken(sticky.HeaderFields(e.a.Header), e.target); v != "" {
			e.pick.App = e.h.Balancer.HashApp([]byte(v))
			e.say("token", "found", "the application's session token is in the %s %s (session.profile)", place.Kind, place.Name)
			return
		}
	}
	where := make([]string, len(e.st.Profile.Places))
	for i, place := range e.st.Profile.Places {
		where[i] = place.Kind + " " + place.Name
	}
	e.say("token", "none", "no session token of the application in %s (session.profile)", strings.Join(where, ", "))
}

// aliasable reports whether an application behind CGI rules could mistake the
// name for another one: "X_Forwarded_For" and "X-Forwarded-For" are both
// HTTP_X_FORWARDED_FOR there (CVE-2025-64484).
func aliasable(name string) bool { return strings.IndexByte(name, '_') >= 0 }
