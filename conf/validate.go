package conf

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"portico/conf/sites"
)

// Validate reports everything in c that cannot work, as a Mistakes whose
// entries name the setting. It looks at values only, never at the system:
// whether a file exists or a port is free shows at the start.
func (c Config) Validate() error { return c.check().orNil() }

// checker collects what is wrong.
type checker struct{ mistakes Mistakes }

func (k *checker) wrong(path, format string, args ...any) {
	k.mistakes = append(k.mistakes, Mistake{Key: path, Message: last(path) + ": " + fmt.Sprintf(format, args...)})
}

func (c Config) check() Mistakes {
	var k checker
	if c.Dir == "" {
		k.wrong("dir", "is empty: name the folder for portico's state, such as %s", defaultDir)
	}
	k.proxy(c.Proxy)
	k.admin(c.Admin)
	k.catalog(c.Catalog)
	k.address("gossip.address", c.Gossip.Address, false)
	k.advertise("gossip.advertise", c.Gossip.Advertise)
	k.agent(c.Agent)
	k.upload(c.Upload)
	k.tls(c.TLS)
	k.log(c.Log)
	k.listeners(c)
	k.sites(c.Sites)
	return k.mistakes
}

func (k *checker) proxy(p Proxy) {
	k.memberName("proxy.name", p.Name)
	k.joining("proxy", p.Join, p.Fingerprint)
	k.address("proxy.http", p.HTTP, true)
	k.address("proxy.https", p.HTTPS, true)
	if p.Engine == "std" {
		k.wrong("proxy.engine", "the engine %q is gone: leave the key out, or write \"auto\"", p.Engine)
	} else {
		k.oneOf("proxy.engine", p.Engine, "auto", "loop", "conn")
	}
	k.oneOf("proxy.io_uring", p.IOUring, "auto", "off")
	k.networks("proxy.trusted_proxies", p.TrustedProxies)
	k.networks("proxy.proxy_protocol", p.ProxyProtocol)
	k.zone("proxy.zone", p.Zone)
	k.between("proxy.retries", p.Retries, 0, 10)
	k.between("proxy.recent", p.Recent, 0, 1_000_000)

	t := p.Timeouts
	k.positive("proxy.timeouts.header", t.Header)
	k.positive("proxy.timeouts.idle", t.Idle)
	k.positive("proxy.timeouts.body", t.Body)
	k.positive("proxy.timeouts.connect", t.Connect)
	k.positive("proxy.timeouts.response", t.Response)
	k.positive("proxy.timeouts.tunnel", t.Tunnel)
	k.positive("proxy.timeouts.tunnels", t.Tunnels)
	k.positive("proxy.timeouts.drain", t.Drain)
	k.positive("proxy.connections.idle_timeout", p.Connections.IdleTimeout)
	k.between("proxy.connections.idle", p.Connections.Idle, 0, 65535)

	l := p.Limits
	k.size("proxy.limits.header", l.Header, 1<<10, 1<<20)
	k.size("proxy.limits.line", l.Line, 256, 1<<20)
	k.size("proxy.limits.response_header", l.ResponseHeader, 1<<10, 16<<20)
	k.between("proxy.limits.fields", l.Fields, 8, 10_000)
	k.between("proxy.limits.connections", l.Connections, 0, 10_000_000)
	k.between("proxy.limits.per_address", l.PerAddress, 0, 10_000_000)
	k.between("proxy.limits.handshakes", l.Handshakes, 0, 1_000_000)
	k.between("proxy.limits.sessions", l.Sessions, 0, 100_000_000)
	if l.Line > l.Header && l.Header >= 1<<10 {
		k.wrong("proxy.limits.line", "is %v, more than proxy.limits.header (%v), which counts the request line too", l.Line, l.Header)
	}
}

func (k *checker) admin(a Admin) {
	k.address("admin.address", a.Address, false)
	k.advertise("admin.advertise", a.Advertise)
	for i, h := range a.Hosts {
		if !validHost(h) {
			k.wrong(index("admin.hosts", i), "%q is not a host name: write it without scheme, port and path", clip(h))
		}
	}
}

func (k *checker) catalog(c Catalog) {
	k.address("catalog.address", c.Address, false)
	k.advertise("catalog.advertise", c.Advertise)
	if !strings.HasSuffix(c.Prefix, "/") || strings.HasPrefix(c.Prefix, "/") || len(c.Prefix) > 200 || !plain(c.Prefix) {
		k.wrong("catalog.prefix", "%q is not a prefix: write one that ends with a slash, such as portico/", clip(c.Prefix))
	}
	if (c.Cert == "") != (c.Key == "") {
		k.wrong("catalog.cert", "catalog.cert and catalog.key belong together: name both files or none")
	}
	if len(c.Endpoints) == 0 {
		if c.CA != "" || c.Cert != "" || c.Key != "" {
			k.wrong("catalog.endpoints", "is empty although certificates for an outside etcd are named: write its URLs, such as [\"https://etcd-1.example.com:2379\"]")
		}
		return
	}
	for i, e := range c.Endpoints {
		path := index("catalog.endpoints", i)
		if slices.Contains(c.Endpoints[:i], e) {
			k.wrong(path, "%q is there twice", clip(e))
			continue
		}
		u, err := url.Parse(e)
		if err == nil && u.Scheme == "https" && (u.Port() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "") {
			k.wrong(path, "%q is not an endpoint: write https, host and port alone, such as https://etcd-1.example.com:2379", clip(e))
			continue
		}
		k.url(path, e, "https://etcd-1.example.com:2379", "https")
	}
}

func (k *checker) agent(a Agent) {
	k.memberName("agent.name", a.Name)
	k.address("agent.address", a.Address, false)
	k.advertise("agent.advertise", a.Advertise)
	k.joining("agent", a.Join, a.Fingerprint)
	k.between("agent.weight", a.Weight, 1, 256)
	k.zone("agent.zone", a.Zone)
	if _, _, err := ParsePorts(a.Ports); err != nil {
		k.wrong("agent.ports", "%v", err)
	}
	k.size("agent.log_size", a.LogSize, 64<<10, 1<<40)
	k.positive("agent.command_timeout", a.CommandTimeout)
	for name, version := range a.Runtimes {
		if name == "" || len(name) > 32 || len(version) > 64 || !plain(name) || !plain(version) {
			k.wrong(join("agent.runtimes", name), "%q is not a runtime: at most 32 printable characters, and 64 for its version", clip(name))
		}
	}
	k.tomcat(a.Tomcat)
}

func (k *checker) zone(key, zone string) {
	if len(zone) > 32 || !plain(zone) {
		k.wrong(key, "%q is not a zone: at most 32 printable characters", clip(zone))
	}
}

// joining checks whom a machine knocks at.
func (k *checker) joining(section string, proxies []string, fingerprint string) {
	for i, addr := range proxies {
		k.target(index(section+".join", i), addr, "proxy.example.com:7443")
	}
	if fingerprint != "" {
		if _, err := ParseFingerprint(fingerprint); err != nil {
			k.wrong(section+".fingerprint", "%v", err)
		}
	}
}

func (k *checker) tomcat(t Tomcat) {
	if t.URL == "" {
		if t.User != "" || t.PasswordFile != "" {
			k.wrong("agent.tomcat.url", "is empty although a user is set: name the manager, such as http://127.0.0.1:8080/manager/text")
		}
		return
	}
	if t.Home != "" {
		k.wrong("agent.tomcat.home", "is for a Tomcat of each site's own, and agent.tomcat.url names one that all share: remove one of the two")
	}
	k.url("agent.tomcat.url", t.URL, "http://127.0.0.1:8080/manager/text", "http", "https")
}

func (k *checker) upload(u Upload) {
	const most = 1 << 50
	k.size("upload.archive", u.Archive, 1, most)
	k.size("upload.unpacked", u.Unpacked, 1, most)
	k.size("upload.file", u.File, 1, most)
	k.between("upload.files", u.Files, 1, 10_000_000)
}

func (k *checker) tls(t TLS) {
	if t.ACME != "" {
		k.url("tls.acme", t.ACME, LetsEncrypt, "https")
	}
	if t.Email != "" && (strings.Count(t.Email, "@") != 1 || !plain(t.Email) || strings.ContainsRune(t.Email, ' ')) {
		k.wrong("tls.email", "%q is not an e-mail address", clip(t.Email))
	}
	if d := t.Tickets.Std(); d != 0 && (d < time.Hour || d > 56*time.Hour) {
		k.wrong("tls.tickets", "%s is out of range: write 1h to 56h, or 0s for no tickets", t.Tickets)
	}
	for i, c := range t.Certificates {
		path := index("tls.certificate", i)
		if c.Cert == "" {
			k.wrong(path+".cert", "is missing: name the PEM file of the certificate")
		}
		if c.Key == "" {
			k.wrong(path+".key", "is missing: name the PEM file of the private key")
		}
	}
}

func (k *checker) log(l Log) {
	k.oneOf("log.level", l.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", l.Format, "text", "json")
	k.oneOf("log.access_format", l.AccessFormat, "json", "httplog")
}

// listeners refuses two listeners of one process on one address.
func (k *checker) listeners(c Config) {
	seen := map[string]string{}
	for _, l := range []struct{ path, addr string }{
		{"proxy.http", c.Proxy.HTTP},
		{"proxy.https", c.Proxy.HTTPS},
		{"admin.address", c.Admin.Address},
		{"catalog.address", c.Catalog.Address},
		{"gossip.address", c.Gossip.Address},
		{"agent.address", c.Agent.Address},
	} {
		if l.addr == "" || strings.HasSuffix(l.addr, ":0") {
			continue
		}
		if other := seen[l.addr]; other != "" {
			k.wrong(l.path, "%s is taken by %s already: give one of them another port", l.addr, other)
			continue
		}
		seen[l.addr] = l.path
	}
}

// address checks where to listen: host:port with an IP address, localhost or
// nothing as host.
func (k *checker) address(path, addr string, optional bool) {
	if addr == "" {
		if !optional {
			k.wrong(path, "is empty: write host:port or :port")
		}
		return
	}
	host, port, err := net.SplitHostPort(addr)
	switch {
	case err != nil:
		k.wrong(path, "%q is not an address: write host:port or :port%s", clip(addr), portOnly(addr))
	case !validPort(port, true):
		k.wrong(path, "port %q of %q is not a number from 0 to 65535", clip(port), clip(addr))
	case host != "" && !validHost(host):
		k.wrong(path, "%q of %q is neither an IP address nor a host name", clip(host), clip(addr))
	}
}

// target checks an address to connect to: both host and port are needed.
func (k *checker) target(path, addr, example string) {
	host, port, err := net.SplitHostPort(addr)
	switch {
	case addr == "":
		k.wrong(path, "is missing: write host:port, such as %s", example)
	case err != nil || host == "":
		k.wrong(path, "%q is not an address: write host:port, such as %s", clip(addr), example)
	case !validPort(port, false):
		k.wrong(path, "port %q of %q is not a number from 1 to 65535", clip(port), clip(addr))
	case !validHost(host):
		k.wrong(path, "%q of %q is neither an IP address nor a host name", clip(host), clip(addr))
	}
}

// advertise checks what others are told: a host, with or without port, that
// they can reach.
func (k *checker) advertise(path, addr string) {
	if addr == "" {
		return
	}
	host := addr
	if h, port, err := net.SplitHostPort(addr); err == nil {
		host = h
		if !validPort(port, false) {
			k.wrong(path, "port %q of %q is not a number from 1 to 65535", clip(port), clip(addr))
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		k.wrong(path, "%s is a wildcard that nobody can connect to: write the address of this machine", addr)
		return
	}
	if !validHost(host) {
		k.wrong(path, "%q is neither a host nor host:port", clip(addr))
	}
}

func (k *checker) networks(path string, list []string) {
	for i, n := range list {
		if _, err := parsePrefix(n); err != nil {
			k.wrong(index(path, i), "%q is neither an address nor a network: write 10.1.2.3 or 10.0.0.0/8", clip(n))
		}
	}
}

func (k *checker) memberName(path, name string) {
	if name != "" && sites.ValidName("member", name) != nil {
		k.wrong(path, "%q is not a member name: lower-case letters, digits and hyphens, at most 40, no hyphen at either end", clip(name))
	}
}
