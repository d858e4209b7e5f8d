package conf

import (
	"log/slog"

	"portico/internal/units"
)

// Config is everything that a portico process can be told at its start. The
// zero Config is not usable: begin with Default.
type Config struct {
	// Dir is the folder of all state: catalog, objects, sites, identity. One
	// process at a time. Default /var/lib/portico (on Windows
	// C:\ProgramData\portico).
	Dir string `toml:"dir"`

	Proxy   Proxy   `toml:"proxy"`
	Admin   Admin   `toml:"admin"`
	Catalog Catalog `toml:"catalog"`
	Gossip  Gossip  `toml:"gossip"`
	Agent   Agent   `toml:"agent"`
	Upload  Upload  `toml:"upload"`
	TLS     TLS     `toml:"tls"`
	Log     Log     `toml:"log"`

	// Sites are the static ones: their application servers run no agent.
	Sites []Site `toml:"site"`
}

// Proxy is what the front door needs to know: the process of "portico proxy".
type Proxy struct {
	// Name of this member in the cluster. Default: the host's name. It must
	// differ from the name of an agent on the same machine.
	Name string `toml:"name"`

	// Join are the admin addresses (host:port) of proxies of a cluster that this one
	// is to share, tried in turn. Default none: a new cluster. Once this proxy has the
	// catalog it is not looked at any more.
	Join []string `toml:"join"`

	// Fingerprint is the cluster's, as its proxies print it: "sha256:…". Needed to
	// join.
	Fingerprint string `toml:"fingerprint"`

	// InviteFile holds the code that "portico invite --role proxy" printed; whoever
	// shows it is accepted without an operator. Default empty: wait for one.
	InviteFile string `toml:"invite_file"`

	// HTTP is the address for plain HTTP. Default ":80"; empty: not served.
	// Certificates by HTTP-01 need it to be reachable as port 80.
	HTTP string `toml:"http"`

	// HTTPS is the address for TLS. Default ":443"; empty: not served.
	HTTPS string `toml:"https"`

	// Engine moves HTTP: "auto" (default) is "loop" on Linux and "conn" elsewhere.
	// "loop" is the epoll engine (Linux), "conn" a goroutine for each connection.
	Engine string `toml:"engine"`

	// IOUring says whether engine loop hands the reads and writes of several
	// connections to the kernel together, through io_uring: "auto" (default) where the kernel has it and
	// no filter of system calls forbids it, or "off". Either way visitors notice nothing.
	IOUring string `toml:"io_uring"`

	// TrustedProxies are the addresses and networks (CIDR) whose
	// X-Forwarded-For is believed. Default: none, the peer is the client.
	TrustedProxies []string `toml:"trusted_proxies"`

	// ProxyProtocol are the addresses and networks (CIDR) whose connections
	// begin with a PROXY header, version 1 or 2. Others are taken as they are,
	// and a PROXY header from them is a bad request. Default: none.
	ProxyProtocol []string `toml:"proxy_protocol"`

	// Zone is a name for what fails together (a rack, a room, a site): upstreams of this
	// proxy's zone get new sessions first, others when none of those can. Default empty.
	Zone string `toml:"zone"`

	// Retries is how many other upstreams an idempotent request may be sent to
	// when one fails before its answer began. Default 2; 0: none.
	Retries int `toml:"retries"`

	// Recent is how many finished requests are remembered with their steps,
	// for "portico explain --recent"; beside them, a quarter as many of those
	// that failed. Default 1000; 0: none. A request takes about 1 KiB.
	Recent int `toml:"recent"`

	Timeouts    ProxyTimeouts    `toml:"timeouts"`
	Limits      ProxyLimits      `toml:"limits"`
	Connections ProxyConnections `toml:"connections"`
}

// ProxyTimeouts bound how long the proxy waits. None of them may be zero: a
// proxy that waits for ever is one that can be filled.
type ProxyTimeouts struct {
	// Header is the time for a whole request head, and for the TLS handshake.
	// Default 10s.
	Header units.Duration `toml:"header"`

	// Idle is how long an idle client connection is kept. Default 60s. Longer
	// saves handshakes, shorter saves memory.
	Idle units.Duration `toml:"idle"`

	// Body is the longest pause within a body, in either direction, and of an
	// upgraded connection or an event stream of which one side has ended.
	// Default 30s. The whole may take as long as it needs.
	Body units.Duration `toml:"body"`

	// Connect is the time to reach an upstream, TLS included. Default 5s.
	Connect units.Duration `toml:"connect"`

	// Response is the time from the end of a request to the head of the
	// upstream's answer. Default 60s; it must exceed the slowest page.
	Response units.Duration `toml:"response"`

	// Tunnel is the longest silence on an upgraded connection (WebSocket) or
	// between two events of an event stream. Default 1h. Once one side has
	// ended, Body holds for the rest.
	Tunnel units.Duration `toml:"tunnel"`

	// Tunnels is how long a process from which another has taken over keeps
	// upgraded connections and event streams. Default 12h. Longer spares
	// their visitors a break, shorter spares the memory of the former process.
	Tunnels units.Duration `toml:"tunnels"`

	// Drain is how long a stopping proxy lets running requests finish.
	// Default 30s.
	Drain units.Duration `toml:"drain"`
}

// ProxyLimits bound what one client can make the proxy hold.
type ProxyLimits struct {
	// Header is the largest request head. Default 16KiB, at least 1KiB.
	// Larger is answered with 431.
	Header units.Size `toml:"header"`

	// Line is the longest request line. Default 8KiB. Longer is answered with
	// 414.
	Line units.Size `toml:"line"`

	// Fields is the largest number of header fields. Default 100.
	Fields int `toml:"fields"`

	// ResponseHeader is the largest head of an upstream's answer. Default
	// 64KiB. Larger becomes 502.
	ResponseHeader units.Size `toml:"response_header"`

	// Connections is the most client connections at a time. Default 0: bounded
	// only by the file descriptors that the system grants.
	Connections int `toml:"connections"`

	// PerAddress is the most connections of one client address. Default 0: no
	// bound. Beware of offices behind one address.
	PerAddress int `toml:"per_address"`

	// Sessions is the most sessions that the proxy counts. Default 0: 1,048,576. Beyond it
	// the longest unused are forgotten by the counts, not by their cookies. Each takes 48
	// bytes.
	Sessions int `toml:"sessions"`

	// Handshakes is how many TLS handshakes run at a time. Default 0: 1024 for
	// each processor. Connections beyond wait for their turn, within
	// timeouts.header. The engines loop and conn hold it.
	Handshakes int `toml:"handshakes"`
}

// ProxyConnections say how connections to upstreams are kept.
type ProxyConnections struct {
	// Idle is the most idle connections kept for each upstream. Default 64; 0:
	// one request for each connection.
	Idle int `toml:"idle"`

	// IdleTimeout closes an idle connection. Default 30s. An application that
	// says in Keep-Alive for how long it keeps connections is obeyed, less a
	// second. Upstreams without an agent have the site's idle_timeout.
	IdleTimeout units.Duration `toml:"idle_timeout"`
}

// Admin is the listener for operators, deploys and members.
type Admin struct {
	// Address to listen on. Default ":7443". Always TLS.
	Address string `toml:"address"`

	// Advertise is the host or host:port under which members reach this
	// proxy. Default empty: Address, and for a wildcard the address of the
	// route to the cluster.
	Advertise string `toml:"advertise"`

	// Hosts are the names under which browsers may open the page, beside the
	// addresses of this machine and localhost. Others are answered with 421,
	// which keeps a web page elsewhere from speaking to it (DNS rebinding).
	Hosts []string `toml:"hosts"`
}

// Catalog is the store that the proxies of a cluster share.
type Catalog struct {
	// Address on which proxies replicate, mutual TLS. Default ":7445". Nothing
	// listens there while there is one proxy. Not used with Endpoints.
	Address string `toml:"address"`

	// Advertise is the host or host:port under which the other proxies reach it.
	// Default empty: Address, and for a wildcard the address of the route to the
	// cluster.
	Advertise string `toml:"advertise"`

	// Endpoints are the URLs (https) of an etcd that somebody else runs, in place
	// of the embedded one: the same on every proxy of the cluster. Default none.
	Endpoints []string `toml:"endpoints"`

	// CA is a PEM file with the roots of that etcd's certificates. Default
	// empty: the system's roots.
	CA string `toml:"ca"`

	// Cert and Key are the PEM files of the client certificate that is shown to
	// it. Default empty: none. They are read at each connection.
	Cert string `toml:"cert"`
	Key  string `toml:"key"`

	// Prefix stands before every key there, and ends with a slash. Default
	// "portico/". Two clusters on one etcd need two prefixes.
	Prefix string `toml:"prefix"`
}

// Gossip is the member list's own protocol, TCP and UDP, encrypted.
type Gossip struct {
	// Address to listen on, the same port for TCP and UDP. Default ":7946".
	Address string `toml:"address"`

	// Advertise is the host or host:port that other members are told. Default
	// empty: Address, and for a wildcard the address of the route to the
	// cluster.
	Advertise string `toml:"advertise"`
}

// Agent is an application server: the process of "portico agent".
type Agent struct {
	// Name of this member in the cluster. Default: the host's name.
	Name string `toml:"name"`

	// Address on which proxies reach the instances, and members the objects.
	// Default ":7444". Always mutual TLS.
	Address string `toml:"address"`

	// Advertise is the host or host:port that proxies are told. Default
	// empty: Address, and for a wildcard the address of the route to the
	// proxy.
	Advertise string `toml:"advertise"`

	// Join are the admin addresses (host:port) of proxies, tried in turn.
	Join []string `toml:"join"`

	// Fingerprint is the cluster's, as "portico proxy" prints it:
	// "sha256:…". Needed until this machine is accepted.
	Fingerprint string `toml:"fingerprint"`

	// InviteFile holds the code that "portico invite" printed; whoever shows
	// it is accepted without an operator. Default empty: wait for one.
	InviteFile string `toml:"invite_file"`

	// Zone is a name for what fails together (a rack, a room, a site). Default
	// empty.
	Zone string `toml:"zone"`

	// Weight is this server's share of new sessions, 1 to 256. Default 100.
	Weight int `toml:"weight"`

	// SiteUser is the operating system account of all site processes when the
	// agent runs as root. Default empty: each site gets a user id of its own,
	// which keeps sites from reading one another's files. Without root every
	// site runs as the agent's own account.
	SiteUser string `toml:"site_user"`

	// AllowUsers are the accounts that a site's settings may name as its user.
	// root is refused even when it stands here. Default none.
	AllowUsers []string `toml:"allow_users"`

	// HookUsers are the accounts that the application servers of hook sites run
	// as: only they and a site's own account may answer at hook.port. Default
	// none: everybody may but the accounts of other sites.
	HookUsers []string `toml:"hook_users"`

	// Ports are the loopback ports that run sites get, FIRST-LAST. Default "20000-29999",
	// below those that Linux gives to outgoing connections.
	Ports string `toml:"ports"`

	// LogSize is how much of an instance's log is kept, twice: now and before.
	// Default 10MiB.
	LogSize units.Size `toml:"log_size"`

	// CommandTimeout is the longest time of one deploy.before command and of one install,
	// activate or remove command of a hook. Default 5m.
	CommandTimeout units.Duration `toml:"command_timeout"`

	// DiskReserve is what stays free on the file system of the state directory,
	// and never more than a tenth of it: when less is left, the site that has
	// grown most is stopped. Default 1GiB. 0: no site is stopped for it.
	DiskReserve units.Size `toml:"disk_reserve"`

	// Runtimes are told to the cluster beside those that the agent finds by
	// itself: name to version, as in webdev = "29".
	Runtimes map[string]string `toml:"runtimes"`

	Tomcat Tomcat `toml:"tomcat"`
}

// Tomcat says how tomcat sites run on this machine: each in a JVM of its own, which is the
// default, or all in one Tomcat.
type Tomcat struct {
	// Home is the folder of Tomcat's own files, with bin/bootstrap.jar. Default: the
	// environment's CATALINA_HOME, else where distributions put them.
	Home string `toml:"home"`

	// URL of the manager's text interface, such as
	// "http://127.0.0.1:8080/manager/text". With it all tomcat sites of this machine
	// share that Tomcat: its memory, the sessions in it, and this password. Default
	// empty: each site has its own.
	URL string `toml:"url"`

	// User with the role manager-script.
	User string `toml:"user"`

	// PasswordFile holds that user's password on its first line.
	PasswordFile string `toml:"password_file"`
}

// Upload bounds the archives that this proxy takes.
type Upload struct {
	// Archive is the largest upload. Default 2GiB.
	Archive units.Size `toml:"archive"`

	// Unpacked is the largest sum of the files in it. Default 8GiB.
	Unpacked units.Size `toml:"unpacked"`

	// File is the largest single file. Default 2GiB.
	File units.Size `toml:"file"`

	// Files is the largest number of entries. Default 200000.
	Files int `toml:"files"`
}

// TLS says where certificates for the sites' hosts come from.
type TLS struct {
	// ACME is the directory URL of the certificate authority, always https.
	// Default Let's Encrypt. Empty: no certificates are asked for.
	ACME string `toml:"acme"`

	// Email is told to the authority. Default empty.
	Email string `toml:"email"`

	// ACMERoot is a PEM file with the root that signs the authority's own web
	// server, for one inside the house. Default empty: the system's roots.
	ACMERoot string `toml:"acme_root"`

	// Tickets is how often the key changes that seals TLS session tickets; a ticket
	// opens for at most three times as long. From 1h to 56h, 0: no tickets, every
	// connection shakes hands in full. Default 12h.
	Tickets units.Duration `toml:"tickets"`

	// Certificates are own files; they win over ACME for the names in them.
	Certificates []Certificate `toml:"certificate"`
}

// Certificate is a pair of PEM files, read again on reload.
type Certificate struct {
	Cert string `toml:"cert"` // the certificate, then its intermediates
	Key  string `toml:"key"`  // the private key
}

// Log is where and how portico writes what it does.
type Log struct {
	// Level is "debug", "info" (default), "warn" or "error".
	Level string `toml:"level"`

	// Format is "text" (default) or "json".
	Format string `toml:"format"`

	// Access is the file of the access log; "-" is standard output. Default
	// empty: none.
	Access string `toml:"access"`

	// AccessFormat is "json" (default) or "httplog", HAProxy's.
	AccessFormat string `toml:"access_format"`
}

// MinLevel is Level as the logger takes it.
func (l Log) MinLevel() (level slog.Level) {
	_ = level.UnmarshalText([]byte(l.Level)) // Validate has seen to it
	return level
}
