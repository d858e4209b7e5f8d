package haproxy

import (
	"sort"
	"strings"

	"portico/conf/sites"
)

// frontend writes one listener with the rules that find a site. scheme is
// "http" or "https".
func (f *file) frontend(name, bind, scheme string, o Options, backends []backend) {
	f.section("frontend", name)
	f.line(bind)
	f.arrival(o)
	f.line("http-request deny deny_status 405 if METH_CONNECT or METH_TRACE")
	f.line("http-request deny deny_status 400 unless { req.hdr_cnt(host) eq 1 }")
	f.line("http-request set-var(txn.host) req.hdr(host),host_only,lower,rtrim(.)")
	f.path(backends)
	f.identify(o)
	f.forwarded(scheme, o)
	rules := rulesOf(f, backends)
	if scheme == "http" && o.CertDir != "" {
		f.redirects(o, backends)
	}
	for i, r := range rules {
		f.line("use_backend", r.backend, "if", r.condition())
		last := i+1 == len(rules) || rules[i+1].class != r.class || rules[i+1].suffix != r.suffix
		if last && r.class != everyHost {
			f.line("use_backend", unknownBackend, "if", r.group())
		}
	}
	f.line("default_backend", unknownBackend)
}

// path sets txn.path to the path under which sites are found, spelled in one
// way: runs of slashes made one and escapes decoded, except those of "/", "\"
// and "%". Dot segments, which portico resolves for this purpose and HAProxy
// cannot, are refused where a mount path could be climbed out of with them.
func (f *file) path(backends []backend) {
	f.line(`http-request set-var(txn.path) path,regsub(%25,%2525,g),regsub(%2[fF],%252F,g),regsub(%5[cC],%255C,g),url_dec,regsub(//+,/,g)`)
	for _, b := range backends {
		if b.settings.Path != "/" {
			f.line(`http-request deny deny_status 400 if { var(txn.path) -m reg (^|/)\.\.?(/|$) }`)
			return
		}
	}
}

// aliases matches, in lower case, the names that CGI programs take for those of fields which only a proxy sets or acts on. It is
// http1.Aliases as an expression. All other names with an underscore are the backends'.
const aliases = `^(x[-_]forwarded[-_]|x[-_]real[-_]ip$|portico[-_]|(content_(length|type)|transfer_encoding|keep_alive|set_cookie|http2_settings|proxy_(connection|authenticate|authorization))$)`

// forwarded drops what only a proxy may say, and says it.
func (f *file) forwarded(scheme string, o Options) {
	f.line("http-request del-header X-Forwarded- -m beg")
	f.line("http-request del-header Forwarded")
	f.line("http-request del-header X-Real-IP")
	f.line("http-request del-header Portico-Session-Lost")
	f.line("http-request del-header", quote(aliases), "-m reg")
	f.line("http-request set-header X-Forwarded-For %[src]")
	f.line("http-request set-header X-Forwarded-Proto", scheme)
	f.line("http-request set-header X-Forwarded-Host %[req.hdr(host)]")
	f.line("http-request set-header X-Forwarded-Port %[dst_port]")
	if len(networks(o.Proxy.TrustedProxies)) == 0 {
		return
	}
	f.line(`http-request set-header X-Forwarded-For "%[var(txn.chain)], %[var(txn.peer)]" if { var(txn.chain) -m found }`)
	f.line("http-request set-header X-Forwarded-Proto %[var(txn.proto)] if { var(txn.proto) -m found }")
	f.line("http-request set-header X-Forwarded-Host %[var(txn.forhost)] if { var(txn.forhost) -m found }")
	f.line("http-request set-header X-Forwarded-Port %[var(txn.forport)] if { var(txn.forport) -m found }")
}

// rule sends one host or wildcard with one mount path to a backend.
type rule struct {
	backend  string
	class    class
	suffix   string // of a wildcard
	hostACL  string // empty: every host
	pathACL  string // empty: every path
	pathLen  int
	position int
}

// class is what a rule says of hosts, in the order in which rules are asked.
type class int

const (
	exactHost class = iota
	wildcard
	everyHost
)

// group is the ACL that holds for all hosts of the rule's class and suffix: a
// host that has rules of its own is looked for nowhere else.
func (r rule) group() string {
	if r.class == exactHost {
		return "exact"
	}
	return "wild_" + ident(r.suffix)
}

func (r rule) condition() string {
	switch {
	case r.hostACL == "" && r.pathACL == "":
		return "TRUE"
	case r.hostACL == "":
		return r.pathACL
	case r.pathACL == "":
		return r.hostACL
	}
	return r.hostACL + " " + r.pathACL
}

// rulesOf writes the ACLs and returns the rules in the order in which portico
// looks: exact hosts, wildcards with the longest suffix first, then sites
// without hosts; within each the longest mount path first.
func rulesOf(f *file, backends []backend) []rule {
	var rules []rule
	for i := range backends {
		rules = append(rules, rulesOfSite(f, &backends[i], len(rules))...)
	}
	sort.SliceStable(rules, func(i, j int) bool {
		a, b := rules[i], rules[j]
		switch {
		case a.class != b.class:
			return a.class < b.class
		case len(a.suffix) != len(b.suffix):
			return len(a.suffix) > len(b.suffix)
		case a.suffix != b.suffix:
			return a.suffix < b.suffix
		case a.pathLen != b.pathLen:
			return a.pathLen > b.pathLen
		}
		return a.position < b.position
	})
	return rules
}

func rulesOfSite(f *file, b *backend, position int) []rule {
	pathACL, pathLen := "", 1
	if p := b.settings.Path; p != "/" && p != "" {
		p = strings.TrimSuffix(p, "/")
		if !pathOK(p) {
			f.comment("site %q is left out: its mount path %q cannot be written as a rule", b.site, p)
			return nil
		}
		pathACL, pathLen = "path_"+b.name, len(p)
		f.line("acl", pathACL, "var(txn.path) -m str --", quote(p))
		f.line("acl", pathACL, "var(txn.path) -m beg --", quote(p+"/"))
	}
	base := rule{backend: b.name, pathACL: pathACL, pathLen: pathLen, position: position}
	if len(b.settings.Hosts) == 0 {
		base.class = everyHost
		return []rule{base}
	}
	var rules []rule
	named := false
	for _, host := range b.settings.Hosts {
		host = strings.ToLower(host)
		suffix, wild := strings.CutPrefix(host, "*.")
		switch {
		case !hostOK(suffix):
			f.comment("host %q of site %q is left out: it cannot be written as a rule", host, b.site)
		case wild:
			r := base
			r.class, r.suffix = wildcard, suffix
			r.hostACL = r.group()
			f.line("acl", r.hostACL, "var(txn.host) -m end --", quote("."+suffix))
			rules = append(rules, r)
		default:
			f.line("acl", "host_"+b.name, "var(txn.host) -m str --", quote(suffix))
			f.line("acl exact var(txn.host) -m str --", quote(suffix))
			if !named {
				named = true
				r := base
				r.hostACL = "host_" + b.name
				rules = append(rules, r)
			}
		}
	}
	return rules
}

// redirects sends plain HTTP to HTTPS for the hosts that have a certificate
// there. 308 keeps method and body.
func (f *file) redirects(o Options, backends []backend) {
	written := map[string]bool{}
	for i := range backends {
		b := &backends[i]
		mode := b.settings.TLS.Redirect
		if b.settings.TLS.Mode == sites.TLSOff || mode == sites.RedirectOff {
			continue
		}
		for _, host := range b.settings.Hosts {
			host = strings.ToLower(host)
			certified := mode == sites.RedirectOn || (o.Certified != nil && o.Certified(host))
			if !certified || !hostOK(host) || written[host] {
				continue
			}
			written[host] = true
			f.line("acl to_https var(txn.host) -m str --", quote(host))
		}
	}
	if len(written) > 0 {
		if len(networks(o.Proxy.TrustedProxies)) > 0 {
			f.line("http-request redirect scheme https code 308 if to_https !{ var(txn.proto) -m str https }")
			return
		}
		f.line("http-request redirect scheme https code 308 if to_https")
	}
}
