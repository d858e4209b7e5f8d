package haproxy_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/conf"
	"portico/conf/sites"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/proxy/haproxy"
)

func export(t testing.TB, o haproxy.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := haproxy.Export(&b, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var exports = map[string]func() haproxy.Options{
	"plain": func() haproxy.Options { return options(cluster()) },
	"https": func() haproxy.Options {
		o := options(cluster())
		o.CertDir = "/etc/haproxy/certs"
		o.Certified = func(host string) bool { return host == "www.shop.example.com" }
		return o
	},
	"hostile": func() haproxy.Options { return options(hostile()) },
	"empty":   func() haproxy.Options { return options(&catalog.View{}) },
	"static": func() haproxy.Options {
		o := options(&catalog.View{Revision: 7})
		o.Static = []haproxy.StaticSite{{
			Name:     "legacy",
			Settings: sites.Settings{Front: sites.Front{Hosts: []string{"old.example.com"}, Health: sites.Health{Type: "tcp"}, Session: sites.Session{Connection: "private"}}},
			Servers:  []haproxy.StaticServer{{ID: "s1", Name: "one", Addr: "10.1.0.1:80"}, {ID: "s2", Name: "two", Addr: "10.1.0.2:80", Weight: 10, Backup: true}},
		}}
		o.Stats = "off"
		return o
	},
	"process": func() haproxy.Options {
		o := options(cluster())
		o.Proxy = conf.Default().Proxy
		o.Proxy.TrustedProxies, o.Proxy.ProxyProtocol = []string{"10.0.0.0/8", "fd00::1"}, []string{"192.0.2.1"}
		o.Proxy.Limits.Connections, o.Proxy.Limits.PerAddress, o.Proxy.Limits.Handshakes = 20000, 100, 64
		o.Tokens = rotated
		o.CertDir = "/etc/haproxy/certs"
		o.Certified = func(host string) bool { return true }
		return o
	},
	"hashed": func() haproxy.Options {
		o := options(&catalog.View{Revision: 7})
		servers := []haproxy.StaticServer{{ID: "s1", Name: "one", Addr: "10.1.0.1:80"}, {ID: "s2", Name: "two", Addr: "10.1.0.2:80"}}
		o.Static = []haproxy.StaticSite{
			{Name: "tenants", Servers: servers, Settings: sites.Settings{
				Front: sites.Front{Hosts: []string{"t.example.com"}, Policy: "header", PolicyHeader: "X-Tenant", PolicyBound: 125, SlowStart: units.Duration(30 * time.Second)},
			}},
			{Name: "lines", Servers: servers, Settings: sites.Settings{Front: sites.Front{Hosts: []string{"l.example.com"}, Policy: "header", PolicyHeader: "X\nbackend evil"}}},
		}
		return o
	},
}

func TestExportGolden(t *testing.T) {
	for name, make := range exports {
		t.Run(name, func(t *testing.T) { golden(t, name+".cfg", []byte(export(t, make()))) })
	}
}

// TestExportPassesCheck is X1: HAProxy itself accepts what is exported.
func TestExportPassesCheck(t *testing.T) {
	bin := haproxyBinary(t)
	for name, make := range exports {
		t.Run(name, func(t *testing.T) {
			o := make()
			o.Dir = t.TempDir()
			writeBundle(t, o.Dir)
			if o.CertDir != "" {
				o.CertDir = t.TempDir()
				writeCert(t, o.Dir, o.CertDir)
			}
			check(t, bin, export(t, o))
		})
	}
}

// writeCert makes the client file of dir serve as a site's certificate.
func writeCert(t testing.TB, dir, certs string) {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(dir, haproxy.ClientFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(certs, "site.pem"), pem, 0o600); err != nil {
		t.Fatal(err)
	}
}

func haproxyBinary(t testing.TB) string {
	t.Helper()
	bin, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("no haproxy on this machine")
	}
	return bin
}

func check(t testing.TB, bin, cfg string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(path, []byte(cfg), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(bin, "-c", "-f", path).CombinedOutput()
	if err != nil {
		t.Errorf("haproxy -c: %v\n%s\n%s", err, out, numbered(cfg))
	}
	if bytes.Contains(out, []byte("[WARNING]")) {
		t.Errorf("haproxy -c warns:\n%s", out)
	}
}

func numbered(cfg string) string {
	var b strings.Builder
	for i, line := range strings.Split(cfg, "\n") {
		b.WriteString(strings.Repeat(" ", 1) + itoa(i+1) + " " + line + "\n")
	}
	return b.String()
}

// TestExportStrict is X2: no option that makes HAProxy more lenient than it is
// by default, and no retry that could send a request twice.
func TestExportStrict(t *testing.T) {
	for name, make := range exports {
		cfg := export(t, make())
		for _, lenient := range []string{
			"accept-invalid", "accept-unsafe", "h1-case-adjust", "h1-accept-payload", "http-no-delay", "option httpclose",
			"all-retryable-errors", "0rtt-rejected", "verify none", "option persist", "option http_proxy", "http-restrict-req-hdr-names",
		} {
			if strings.Contains(cfg, lenient) {
				t.Errorf("%s: holds %q", name, lenient)
			}
		}
		if strings.Count(cfg, "retry-on") != 1 || !strings.Contains(cfg, "retry-on conn-failure\n") {
			t.Errorf("%s: retries more than refused connections", name)
		}
		for _, line := range strings.Split(cfg, "\n") {
			if strings.Contains(line, "server ") && strings.Contains(line, " ssl ") && !strings.Contains(line, "verify required") {
				t.Errorf("%s: unverified server: %s", name, line)
			}
		}
	}
}

func TestExportServers(t *testing.T) {
	cfg := export(t, options(cluster()))
	for _, want := range []string{
		"server app-1 10.0.0.1:7444 cookie " + token(id("a")) + " weight 100 check",
		"server app-2 10.0.0.2:7444 cookie " + token(id("b")) + " weight 0 check",               // drained
		"server app-1-aaaaaaa-ddddd 10.0.0.1:7444 cookie " + token(id("d")) + " weight 0 check", // retiring
		"sni str(" + id("a") + ".app-1.member.portico) check-sni " + id("a") + ".app-1.member.portico verifyhost " + id("a") + ".app-1.member.portico",
	} {
		if !strings.Contains(cfg, want) {
			t.Errorf("missing %q", want)
		}
	}
	for _, id := range []string{id("e"), id("f"), id("g")} { // candidate, revoked, exited
		if strings.Contains(cfg, id) {
			t.Errorf("holds instance %s", id)
		}
	}
	for _, line := range strings.Split(cfg, "\n") {
		if strings.Contains(line, token(id("c"))) && !strings.HasSuffix(line, " disabled") {
			t.Errorf("a member in maintenance takes visitors: %s", line)
		}
	}
}

// What operators, or a site that leaves a server, order of one instance holds in HAProxy as well.
func TestExportInstanceStates(t *testing.T) {
	v := cluster()
	v.Instances[id("a")].Admin = catalog.AdminDrain
	v.Instances[id("h")].Admin = catalog.AdminMaint
	cfg := export(t, options(v))
	if want := "server app-1 10.0.0.1:7444 cookie " + token(id("a")) + " weight 0 check"; !strings.Contains(cfg, want) {
		t.Errorf("an instance that drains takes new visitors: missing %q", want)
	}
	for line := range strings.Lines(cfg) {
		if strings.Contains(line, token(id("h"))) && !strings.HasSuffix(strings.TrimSpace(line), " disabled") {
			t.Errorf("an instance in maintenance takes visitors: %s", line)
		}
	}
}

// directives are the first words that a line of our files may have.
var directives = map[string]bool{}

func init() {
	for w := range strings.FieldsSeq(`global defaults frontend backend log user group chroot maxconn tune.bufsize tune.http.maxhdr tcp-request ssl-default-bind-options ssl-default-server-options
		tune.ssl.default-dh-param mode option retries retry-on timeout default-server bind no stats http-request http-after-response
		http-check acl use_backend default_backend balance cookie server stick-table`) {
		directives[w] = true
	}
}

// FuzzExport is the other half of X1: whatever stands in the catalog, the file
// has the lines of its skeleton and no others, and each line's arguments are
// closed.
func FuzzExport(f *testing.F) {
	f.Add("shop", "shop.example.com", "/", "/healthz", "ok", "app-1", "10.0.0.1:7444", "portico-shop", "abc")
	f.Add("a\nserver evil 1.2.3.4:80", "h\nuse_backend x", "/p\"", "/x y", "b\"ody\\", "m # c", "1.1.1.1:1 backup", "c;Path", "i'd")
	f.Add("$HOME", "%[src]", "/%2e", "/\\", "\\", "'", "[::1]:80", "a,b", "\"")
	f.Add("", "", "", "", "\x00", "", "", "", "")
	f.Add(strings.Repeat("é", 300), "*.x", "/'", "\t", "\r", "\x7f", "host:99999", "=", "(")
	f.Fuzz(func(t *testing.T, site, host, path, health, body, member, addr, cookie, instance string) {
		v := &catalog.View{
			Members: map[string]*catalog.Member{member: {Name: member, Admission: catalog.Accepted, Addr: addr}},
			Sites: map[string]*catalog.Site{site: {Name: site, Release: "r", Manifest: sites.Settings{
				Front: sites.Front{Hosts: []string{host, "*." + host}, Path: path, Strip: true, Policy: sites.Policy(cookie),
					Health:  sites.Health{Path: health, Host: host, Status: health, Body: body},
					Session: sites.Session{Cookie: cookie, SameSite: member, Profile: body}},
				Limits: sites.Limits{FrontLimits: sites.FrontLimits{Rate: addr}},
			}}},
			Instances: map[string]*catalog.Instance{instance: {ID: instance, Site: site, Release: "r", Member: member}},
		}
		o := options(v)
		o.Version, o.Static = body, []haproxy.StaticSite{{Name: host, Servers: []haproxy.StaticServer{{ID: site, Name: body, Addr: addr}}}}
		cfg := export(t, o)
		servers := 0
		for i, line := range strings.Split(cfg, "\n") {
			args, err := split(line)
			if err != nil {
				t.Fatalf("line %d: %v: %s", i+1, err, line)
			}
			if len(args) == 0 {
				continue
			}
			if !directives[args[0]] {
				t.Fatalf("line %d begins with %q", i+1, args[0])
			}
			if len(args) > 60 || len(line) > 2000 {
				t.Fatalf("line %d is too long for HAProxy: %d words, %d bytes", i+1, len(args), len(line))
			}
			if args[0] == "server" {
				servers++
				if args[1] != strings.Trim(args[1], " \t\"'#") || strings.Contains(line, "backup") && !strings.Contains(body+addr+member, "backup") {
					t.Fatalf("line %d: %s", i+1, line)
				}
			}
		}
		if servers > 2 {
			t.Fatalf("%d servers", servers)
		}
	})
}

// TestHostileNamesPassCheck asks HAProxy itself about names that a fuzzer finds
// interesting, one place at a time.
func TestHostileNamesPassCheck(t *testing.T) {
	bin := haproxyBinary(t)
	dir := t.TempDir()
	writeBundle(t, dir)
	nasty := []string{
		"", " ", "#", "\"", "'", "\\", "$HOME", "${HOME}", "%[src]", "%", "a b", "a\nserver x 1.1.1.1:1", "é", "\x00\x1b", "-i", "--", "if", "TRUE", "{", "!",
		strings.Repeat("long", 100), "99999:99999", "[::1]:99999", "1.1.1.1:0", "0", "(", ")", ",", "a,b(c)", "|", "*", ".*", "^$", "=", ";", "default_backend", "x/y?z=1&w=%20",
	}
	for _, s := range nasty {
		v := &catalog.View{
			Members: map[string]*catalog.Member{"m": {Name: s, Admission: catalog.Accepted, Addr: s}, "n": {Name: "n" + s, Admission: catalog.Accepted, Addr: "10.0.0.1:7444"}},
			Sites: map[string]*catalog.Site{
				s: {Name: s, Release: "r", Manifest: sites.Settings{
					Front: sites.Front{Hosts: []string{s, "*." + s, "a" + s + ".example.com"}, Path: "/" + s, Strip: true, Policy: sites.Policy(s),
						Health:  sites.Health{Path: "/" + s, Host: s, Status: s, Body: s, Type: "http"},
						Session: sites.Session{Cookie: s, Profile: s, SameSite: s}}, Limits: sites.Limits{FrontLimits: sites.FrontLimits{Rate: s}},
				}},
				"plain": {Name: "plain", Release: "r", Manifest: sites.Settings{Front: sites.Front{Health: sites.Health{Body: s}}}},
			},
			Instances: map[string]*catalog.Instance{
				id("a"): {ID: s, Site: s, Release: "r", Member: "m"}, id("b"): {ID: id("b"), Site: s, Release: "r", Member: "n"}, id("c"): {ID: id("c"), Site: "plain", Release: "r", Member: "n"},
			},
		}
		o := options(v)
		o.Dir, o.Version = dir, s
		check(t, bin, export(t, o))
	}
}

// TestFormerReleaseIsNotCheckedForTheNext: HAProxy has one check for all servers of a section. A former release that is healthy
// by another one would lose its sessions by it.
func TestFormerReleaseIsNotCheckedForTheNext(t *testing.T) {
	for path, checked := range map[string]bool{"/healthz?full=1": true, "/before": false} {
		v := cluster()
		old := v.Sites["shop"].Manifest
		old.Health.Path = path
		v.Releases = map[string]map[string]*catalog.Release{"shop": {digest("a"): {Site: "shop", Digest: digest("a"), Manifest: old}}}
		cfg, found := export(t, options(v)), 0
		for line := range strings.Lines(cfg) {
			if strings.Contains(line, "server app-1-"+digest("a")[:7]) {
				found++
				if strings.Contains(line, " check ") != checked {
					t.Errorf("%s: %s", path, line)
				}
			}
		}
		if found != 1 {
			t.Errorf("%d lines of the former release", found)
		}
	}
}
