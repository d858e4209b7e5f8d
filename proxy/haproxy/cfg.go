package haproxy

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/balancer/seal"
	"portico/conf"
	"portico/conf/sites"
	"portico/membership/catalog"
)

// Options say what Export writes and how the file's user has set up HAProxy.
type Options struct {
	// View is the cluster to write. It is required.
	View *catalog.View

	// Tokens returns the cookie values that name an instance, see
	// balancer.Sealer.Tokens: HAProxy sets the first and honours them all.
	// Without it no cookie is written and HAProxy keeps no visitor on an
	// instance.
	Tokens func(instanceID string) [2]seal.Token

	// Proxy is the proxy's own section of the configuration: timeouts, limits,
	// and whose word on clients' addresses is taken. The zero value means
	// conf.Default's. Its addresses are not used.
	Proxy conf.Proxy

	HTTP    string // address of plain HTTP; default ":80"
	HTTPS   string // address of HTTPS; default ":443"; used with CertDir only
	CertDir string // directory of PEM files for HTTPS, as HAProxy will find it; empty: no HTTPS

	// Dir is where the companion files lie, as HAProxy will find them: the
	// cluster's authority (CAFile) and the certificate that agents accept
	// (ClientFile). Default "/etc/haproxy/portico".
	Dir string

	// Stats is the address of HAProxy's own page, default "127.0.0.1:8404";
	// "off" leaves it out.
	Stats string

	// Bare leaves out what Debian's package has prepared: the account, the
	// folder to be locked into and the runtime socket.
	Bare bool

	// Certified reports whether CertDir will hold a certificate for a host. It
	// decides where sites with an automatic redirect send plain HTTP; nil means
	// nowhere.
	Certified func(host string) bool

	Static  []StaticSite // sites of servers that run no agent, from the proxy's configuration
	Version string       // of portico, for the first line
}

// The companion files of an exported configuration.
const (
	ConfigFile = "haproxy.cfg"
	CAFile     = "ca.pem"     // the cluster's authority
	ClientFile = "client.pem" // certificate and key that agents accept
)

// StaticSite is a site whose servers run no agent.
type StaticSite struct {
	Name     string
	Settings sites.Settings
	Servers  []StaticServer
}

// StaticServer is one of them, reached without TLS.
type StaticServer struct {
	ID          string // what its cookie token is made from
	Name        string
	Addr        string // host:port
	Weight      int    // 1 to 256; 0: 100
	Backup      bool
	Drain       bool
	Connections int    // requests in flight; 0: the site's limit
	Zone        string // HAProxy has no word for it
}

// unknownBackend answers for hosts that no site names. No site's backend can
// have this name, because ident escapes the underscore.
const unknownBackend = "portico_unknown"

// Export writes a complete haproxy.cfg for the cluster in o.View, for HAProxy
// 2.6 and newer. The same view gives the same bytes.
//
// HAProxy has no counterpart to some of what portico does. A comment says so
// where a setting that has none is in use.
func Export(w io.Writer, o Options) error {
	if o.View == nil {
		return errors.New("export haproxy.cfg: no view of the catalog")
	}
	o.setDefaults()
	backends := collect(o)
	f := &file{}
	f.head(o)
	f.global(o)
	f.defaults(o)
	f.stats(o)
	f.addresses(o)
	f.frontend("http", "bind "+quote(o.HTTP), "http", o, backends)
	if o.CertDir != "" {
		bind := "bind " + quote(o.HTTPS) + " ssl crt " + quote(o.CertDir) + " alpn h2,http/1.1"
		f.frontend("https", bind, "https", o, backends)
	}
	f.unknown()
	for i := range backends {
		f.backend(&backends[i], o)
	}
	_, err := io.WriteString(w, f.String())
	return err
}

func (o *Options) setDefaults() {
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	set(&o.HTTP, ":80")
	set(&o.HTTPS, ":443")
	set(&o.Dir, "/etc/haproxy/portico")
	set(&o.Stats, "127.0.0.1:8404")
	if o.Proxy.Timeouts == (conf.ProxyTimeouts{}) {
		o.Proxy = conf.Default().Proxy
	}
}

// file is a configuration being written. Every line goes through one of its
// methods, so that no value can begin a line of its own.
type file struct{ strings.Builder }

func (f *file) section(words ...string) { f.WriteString("\n" + oneLine(words) + "\n") }
func (f *file) line(words ...string)    { f.WriteString("    " + oneLine(words) + "\n") }
func (f *file) comment(format string, args ...any) {
	f.WriteString("    # " + comment(fmt.Sprintf(format, args...)) + "\n")
}

func oneLine(words []string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == 0 {
			return '?'
		}
		return r
	}, strings.Join(words, " "))
}

func (f *file) head(o Options) {
	f.WriteString("# haproxy.cfg for a portico cluster, HAProxy 2.6 or newer.\n")
	f.WriteString("# Made by portico " + comment(o.Version) + " from revision " + strconv.FormatInt(o.View.Revision, 10) + " of the catalog;\n")
	f.WriteString("# make it again after a change: portico export haproxy --watch.\n")
	f.WriteString("# Its cookies are portico's: a visitor may come through either of the two.\n")
}

func (f *file) stats(o Options) {
	if o.Stats == "off" {
		return
	}
	f.section("frontend stats")
	f.line("bind", quote(o.Stats))
	f.line("option dontlog-normal")
	f.line("stats enable")
	f.line("stats uri /")
	f.line("stats refresh 10s")
	f.line("stats show-legends")
	f.line("http-request deny if !METH_GET")
}

func (f *file) unknown() {
	f.section("backend", unknownBackend)
	f.line(`http-request return status 404 content-type text/plain string "no site here"`)
}

// memberSuffix ends the names in members' certificates. HAProxy compares the
// name that it asks for (SNI) with the certificate, whatever verifyhost says, so
// it asks for INSTANCE.MEMBER.member.portico: the member's certificate holds a
// wildcard for just that, and the agent takes the first label for the instance.
const memberSuffix = ".member.portico"

// backend is one site as HAProxy sees it.
type backend struct {
	name     string // escaped
	site     string
	settings sites.Settings
	servers  []server
	notes    []string // what could not be written
}

type server struct {
	name   string // escaped
	addr   string
	token  string // cookie value; empty: none
	former string // the one that it had under the session key before; empty: none
	weight int
	conns  int  // requests in flight; 0: the site's limit
	drain  bool // keeps its visitors, gets no new ones
	maint  bool
	backup bool
	sni    string // non-empty: an agent, by mutual TLS
	zone   string

	unchecked bool // its release is healthy by another check than the site's, which a section of HAProxy's cannot have
}

// pin gives a server the tokens of its instance.
func (s *server) pin(o Options, id string) {
	if o.Tokens == nil || id == "" {
		return
	}
	tokens := o.Tokens(id)
	s.token = tokens[0].String()
	if tokens[1] != tokens[0] {
		s.former = tokens[1].String()
	}
}

// collect turns the view into backends, sorted by name.
func collect(o Options) []backend {
	var out []backend
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(o.View.Sites)) {
		b := fromSite(o, o.View.Sites[name])
		if seen[b.name] {
			continue // only where a name is longer than any that catalog accepts
		}
		seen[b.name] = true
		out = append(out, b)
	}
	for _, s := range o.Static {
		b := fromStatic(o, s)
		if seen[b.name] {
			continue // the catalog's site wins, as it does in the proxy
		}
		seen[b.name] = true
		out = append(out, b)
	}
	return out
}

func fromSite(o Options, site *catalog.Site) backend {
	b := backend{name: ident(site.Name), site: site.Name}
	settings, err := site.Effective()
	if err != nil {
		b.notes = append(b.notes, "the operators' settings are left out: "+err.Error())
		settings = site.Manifest
	}
	b.settings = settings.WithDefaults(site.Name)
	retiring := map[string]bool{}
	for _, r := range site.Retiring {
		retiring[r.Release] = true
	}
	names := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(o.View.Instances)) {
		in := o.View.Instances[id]
		if in.Site != site.Name || in.State == catalog.InstanceExited {
			continue
		}
		current := site.Release != "" && in.Release == site.Release
		member := o.View.Members[in.Member]
		if (!current && !retiring[in.Release]) || member == nil || member.Admission != catalog.Accepted {
			continue
		}
		s := fromInstance(o, in, member)
		s.drain = s.drain || !current
		s.unchecked = !current && checkedOtherwise(o, site, in.Release, b.settings)
		if names[s.name] || !current {
			s.name = ident(member.Name + "-" + cut(in.Release, 7) + "-" + cut(in.ID, 5))
		}
		if names[s.name] {
			s.name = ident(cut(member.Name, 40) + "-" + in.ID)
		}
		if !names[s.name] {
			names[s.name] = true
			b.servers = append(b.servers, s)
		}
	}
	slices.SortStableFunc(b.servers, func(x, y server) int { return strings.Compare(x.name, y.name) })
	return b
}

// checkedOtherwise reports whether the health of a former release shows in another check than that of the site.
func checkedOtherwise(o Options, site *catalog.Site, release string, s sites.Settings) bool {
	r := o.View.Releases[site.Name][release]
	if r == nil {
		return false
	}
	own, err := site.EffectiveFor(r)
	return err == nil && own.Question() != s.Question()
}

func fromInstance(o Options, in *catalog.Instance, m *catalog.Member) server {
	s := server{
		name: ident(m.Name), addr: m.Addr, weight: weight(m.Weight),
		sni: ident(in.ID) + "." + ident(m.Name) + memberSuffix, drain: m.Admin == catalog.AdminDrain || in.Admin == catalog.AdminDrain, maint: m.Admin == catalog.AdminMaint || in.Admin == catalog.AdminMaint,
	}
	s.pin(o, in.ID)
	return s
}

func fromStatic(o Options, site StaticSite) backend {
	b := backend{name: ident(site.Name), site: site.Name, settings: site.Settings.WithDefaults(site.Name)}
	names := map[string]bool{}
	for _, v := range site.Servers {
		s := server{name: ident(v.Name), addr: v.Addr, weight: weight(v.Weight), backup: v.Backup, drain: v.Drain, conns: v.Connections, zone: v.Zone}
		s.pin(o, v.ID)
		if !names[s.name] {
			names[s.name] = true
			b.servers = append(b.servers, s)
		}
	}
	return b
}

func weight(w int) int {
	if w <= 0 {
		return 100
	}
	return min(w, 256)
}

func cut(s string, n int) string { return s[:min(n, len(s))] }

func millis(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }
