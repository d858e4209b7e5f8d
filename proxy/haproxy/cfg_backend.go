package haproxy

import (
	"cmp"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/conf/sites"
)

// backend writes one site.
func (f *file) backend(b *backend, o Options) {
	f.section("backend", b.name)
	if b.name != b.site {
		f.comment("site %q", b.site)
	}
	for _, n := range b.notes {
		f.comment("%s", n)
	}
	f.line("balance", algorithm(&b.settings))
	if p := b.settings.Policy; b.settings.PolicyBound > 0 && p.Hashes() {
		f.line("hash-type consistent")
		f.line("hash-balance-factor", strconv.Itoa(b.settings.PolicyBound))
	}
	if b.settings.Session.Connection == sites.ConnectionPrivate {
		f.line("http-reuse never")
	}
	f.cookie(b, o)
	f.notes(b)
	f.limits(b)
	f.streams(o)
	if b.settings.Underscores != sites.UnderscoresPass {
		f.line("http-request del-header _ -m sub")
	}
	f.strip(b)
	f.check(b)
	for i := range b.servers {
		f.server(b, &b.servers[i], o)
	}
}

// algorithm names HAProxy's nearest policy. Live sessions, which portico counts
// by default, HAProxy does not know; connections are the nearest it has.
func algorithm(s *sites.Settings) string {
	switch s.Policy {
	case sites.PolicyRoundRobin:
		return "roundrobin"
	case sites.PolicyRandom:
		return "random(2)"
	case sites.PolicySource, sites.PolicyFirst, sites.PolicyURI:
		return string(s.Policy)
	case sites.PolicyHeader:
		if cookieName.MatchString(s.PolicyHeader) {
			return "hdr(" + s.PolicyHeader + ")"
		}
	}
	return "leastconn"
}

var cookieName = regexp.MustCompile(`^[A-Za-z0-9!*+.^_~-]{1,128}$`)

// cookie writes the sticky cookie. HAProxy compares a cookie's value up to the
// first "|" with the server's, so it honours portico's sealed cookies, and sets
// the bare token, which portico honours in return.
func (f *file) cookie(b *backend, o Options) {
	s := b.settings.Session
	if s.Sticky == sites.StickyNone || o.Tokens == nil {
		return
	}
	name := s.Cookie
	if name == "" {
		name = "portico-" + b.site
	}
	if !cookieName.MatchString(name) {
		f.comment("no visitor is kept on a server: the cookie name %q cannot be written", name)
		return
	}
	attr := " attr SameSite=Lax"
	switch s.SameSite {
	case sites.SameSiteStrict:
		attr = " attr SameSite=Strict"
	case sites.SameSiteNone:
		attr = "" // below, with Secure only
	}
	if p := strings.TrimSuffix(b.settings.Path, "/"); p != "" && pathOK(p) && !strings.Contains(p, ",") {
		attr += " attr " + quote("Path="+p) // the last Path counts, RFC 6265 section 5.2.4
	}
	f.line("cookie", name, "insert indirect nocache httponly"+attr)
	// HAProxy would take what stands behind the bars for dates of its own and
	// send a new cookie; the bare token leaves the visitor's as it is.
	re := "^((.*; *)?" + regexp.QuoteMeta(name) + "=[a-z2-7]{10})[|][^;]*(.*)$"
	f.line("http-request replace-header Cookie", quote(re), quote(`\1\3`))
	for _, v := range b.servers {
		if v.former != "" { // visitors keep the cookie of the key before until portico replaces it
			f.line("http-request replace-header Cookie", quote("^((.*; *)?"+regexp.QuoteMeta(name)+"=)"+v.former+"(;.*)?$"), quote(`\1`+v.token+`\3`))
		}
	}
	secure := `\1; Secure`
	if s.SameSite == sites.SameSiteNone {
		secure += "; SameSite=None"
	}
	if s.Partitioned {
		secure += "; Partitioned"
	}
	f.line("http-after-response replace-header Set-Cookie", quote("^("+regexp.QuoteMeta(name)+"=.*)$"), quote(secure), f.ifSecure(o))
}

// notes lists what this site asks for and HAProxy has no word for.
func (f *file) notes(b *backend) {
	not := func(asked bool, format string, args ...any) {
		if asked {
			f.comment("not written: "+format, args...)
		}
	}
	s := &b.settings.Session
	not(s.Idle.Std() != sites.DefaultSessionIdle, "the end of a session after %s without a request", s.Idle)
	not(s.Sticky != sites.StickyNone, "session.patience (%s): HAProxy moves a visitor as soon as its checks have failed", s.Patience)
	not(s.Life > 0, "the end of a session after %s", s.Life)
	not(s.Max > 0, "at most %d sessions for each instance", s.Max)
	not(s.Profile != "", "the application's own token (profile %q)", s.Profile)
	not(s.Adopt != "" && s.Adopt != sites.AdoptNone, "the servers' names of the balancer before (%s, and its upstreams' cookies)", s.Adopt)
	not(s.Notice, "the page that tells people of a lost session")
	not(s.Logout != "", "the end of a session at %q", s.Logout)
	not(s.Rebalance > 0, "%d sessions a minute that may move to balance the servers", s.Rebalance)
	not(len(b.settings.Rewrite) > 0, "the application's addresses in answers (%s) go out as they come", joined(b.settings.Rewrite))
	not(slices.ContainsFunc(b.servers, func(v server) bool { return v.zone != "" }), "the zones of the servers")
}

func (f *file) limits(b *backend) {
	l := b.settings.Limits
	if body := l.Body.Bytes(); body > 0 {
		f.line("http-request deny deny_status 413 if { req.body_size gt", strconv.FormatInt(body, 10), "}")
	}
	if q := l.Queue.Std(); q > 0 {
		f.line("timeout queue", millis(q))
	}
	if n, per, ok := parseRate(l.Rate); ok {
		window := strconv.Itoa(int(per / time.Second))
		f.line("stick-table type ipv6 size 100k expire", window+"s store http_req_rate("+window+"s)")
		f.line("http-request track-sc0 src")
		f.line("http-request deny deny_status 429 if { sc_http_req_rate(0) gt", strconv.Itoa(n), "}")
	} else if l.Rate != "" {
		f.comment("not written: the rate %q", l.Rate)
	}
}

// parseRate reads "100/s", "600/m" and "1000/h".
func parseRate(s string) (n int, per time.Duration, ok bool) {
	count, unit, found := strings.Cut(s, "/")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if !found || err != nil || n <= 0 {
		return 0, 0, false
	}
	switch strings.TrimSpace(unit) {
	case "s":
		return n, time.Second, true
	case "m":
		return n, time.Minute, true
	case "h":
		return n, time.Hour, true
	}
	return 0, 0, false
}

// strip removes the mount path before forwarding. A path that spells its mount
// path with escapes is refused, because HAProxy would forward it unstripped.
func (f *file) strip(b *backend) {
	p := strings.TrimSuffix(b.settings.Path, "/")
	if !b.settings.Strip || p == "" || !pathOK(p) {
		return
	}
	re := "^" + regexp.QuoteMeta(p) + "/*(.*)$"
	f.line("http-request deny deny_status 400 unless { path -m str --", quote(p), "} or { path -m beg --", quote(p+"/"), "}")
	f.line("http-request set-header X-Forwarded-Prefix", format(p))
	f.line("http-request replace-path", quote(re), quote(`/\1`))
}

var statusRule = regexp.MustCompile(`^[1-9][0-9]{2}(-[1-9][0-9]{2})?(,[1-9][0-9]{2}(-[1-9][0-9]{2})?)*$`)

// check writes how a server proves that it is well: the same request that
// portico and the agents send.
func (f *file) check(b *backend) {
	h := b.settings.Health
	if t := h.Timeout.Std(); t > 0 {
		f.line("timeout check", millis(t))
	}
	if h.Type == sites.HealthTCP {
		if len(b.servers) == 0 || b.servers[0].sni == "" {
			return // a connection is all that is asked for, and what "check" does
		}
		// The agent takes any connection; that the process behind it does
		// shows in the agent's not answering 502, 503 or 504 for it.
		f.line("option httpchk")
		f.line("http-check send meth HEAD uri / ver", version(b), "hdr Host localhost")
		f.line("http-check expect ! rstatus ^50[234]$")
		return
	}
	path, host := h.Path, h.Host
	if !uriOK(path) {
		f.comment("the health check asks for /: the path %q cannot be written", path)
		path = "/"
	}
	if !hostOK(strings.ToLower(host)) {
		host = firstHost(b.settings)
	}
	f.line("option httpchk")
	f.line("http-check send meth GET uri", quote(path), "ver", version(b), "hdr Host", format(host))
	status := h.Status
	if !statusRule.MatchString(status) {
		status = "200-399"
	}
	f.line("http-check expect status", status)
	if h.Body != "" {
		f.line("http-check expect string", quote(h.Body))
	}
}

// version is the one in which a check asks.
func version(b *backend) string {
	if b.settings.Protocol == sites.ProtocolH2C {
		return "HTTP/2"
	}
	return "HTTP/1.1"
}

func firstHost(s sites.Settings) string {
	for _, h := range s.Hosts {
		if !strings.HasPrefix(h, "*.") && hostOK(h) {
			return h
		}
	}
	return "localhost"
}

func (f *file) server(b *backend, s *server, o Options) {
	if !addrOK(s.addr) {
		f.comment("server %q is left out: its address %q cannot be written", s.name, s.addr)
		return
	}
	words := []string{"server", s.name, quote(s.addr)}
	if s.token != "" && b.settings.Session.Sticky != sites.StickyNone {
		words = append(words, "cookie", quote(s.token))
	}
	w := s.weight
	if s.drain {
		w = 0
	}
	words = append(words, "weight", strconv.Itoa(w))
	if s.unchecked {
		f.comment("server %q runs a former release, which another check is for: HAProxy makes none", s.name)
	} else {
		words = append(words, "check")
	}
	if b.settings.Protocol == sites.ProtocolH2C {
		words = append(words, "proto", "h2", "check-proto", "h2")
	}
	h := b.settings.Health
	if d := h.Interval.Std(); d > 0 {
		words = append(words, "inter", millis(d))
	}
	if h.Rise > 0 {
		words = append(words, "rise", strconv.Itoa(h.Rise))
	}
	if h.Fall > 0 {
		words = append(words, "fall", strconv.Itoa(h.Fall))
	}
	if n := cmp.Or(s.conns, b.settings.Limits.Connections); n > 0 {
		words = append(words, "maxconn", strconv.Itoa(n))
	}
	if d := b.settings.SlowStart.Std(); d > 0 {
		words = append(words, "slowstart", millis(d))
	}
	if s.backup {
		words = append(words, "backup")
	}
	if s.sni != "" {
		words = append(words, "ssl verify required ca-file", quote(o.Dir+"/"+CAFile), "crt", quote(o.Dir+"/"+ClientFile),
			"sni", "str("+s.sni+")", "check-sni", s.sni, "verifyhost", s.sni)
	}
	if s.maint {
		words = append(words, "disabled")
	}
	f.line(words...)
}

var hostForm = regexp.MustCompile(`^[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?$`)

// addrOK reports whether addr is host:port with a host that a server line can
// name.
func addrOK(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || len(host) > 253 {
		return false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return false
	}
	if strings.Contains(host, ":") {
		ip, err := netip.ParseAddr(host)
		return err == nil && ip.Zone() == ""
	}
	return hostForm.MatchString(host)
}

func joined(names []sites.Rewrite) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = string(name)
	}
	return strings.Join(list, ", ")
}
