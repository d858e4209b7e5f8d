package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"portico/balancer/seal"
	"portico/certs"
	"portico/conf"
	"portico/conf/sites"
	"portico/internal/units"
	"portico/proxy"
	"portico/proxy/accesslog"
	"portico/tests/support/seals"
)

//go:embed relay.c.in
var relaySource []byte

// peer is a proxy under test.
type peer struct {
	name    string
	version string
	http    string // address
	https   string
	sticky  bool // can pin visitors by a cookie
	argv    []string
	cmd     *exec.Cmd
	config  string
}

// bench is one run: where files lie, which core is whose.
type bench struct {
	dir, cert, key string
	origin         string // address
	proxyCore      string
	loadCore       string
	self           string
	beside         string // another build of self, "": none
	sites          int
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// pinned is a command on a core; without taskset, or with one core, it runs where it likes.
func pinned(core string, argv ...string) *exec.Cmd {
	if core != "" {
		if path, err := exec.LookPath("taskset"); err == nil {
			argv = append([]string{path, "-c", core}, argv...)
		}
	}
	c := exec.Command(argv[0], argv[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return c
}

func versionOf(name string, args ...string) string {
	b, _ := exec.Command(name, args...).CombinedOutput()
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// moduleVersion is what a program says of itself that was built by "go install module@version".
func moduleVersion(bin string) string {
	b, _ := exec.Command("go", "version", "-m", bin).Output()
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "mod" {
			return f[1] + " " + f[2]
		}
	}
	return versionOf(bin, "version")
}

// peers prepares every proxy that is installed.
func (b *bench) peers(want func(string) bool) ([]*peer, error) {
	var list []*peer
	for _, mk := range []func() (*peer, error){b.relay, b.nginx, b.haproxy, b.caddy, b.portico("loop"), b.portico("conn"), b.other} {
		p, err := mk()
		if err != nil {
			return nil, err
		}
		if p != nil && want(p.name) {
			list = append(list, p)
		}
	}
	return list, nil
}

func (b *bench) addresses() (string, string) {
	return "127.0.0.1:" + strconv.Itoa(freePort()), "127.0.0.1:" + strconv.Itoa(freePort())
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

func (b *bench) relay() (*peer, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return nil, nil
	}
	src, bin := filepath.Join(b.dir, "relay.c"), filepath.Join(b.dir, "relay")
	if err := os.WriteFile(src, relaySource, 0o600); err != nil {
		return nil, err
	}
	if out, err := exec.Command(cc, "-O2", "-o", bin, src).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile relay: %w: %s", err, out)
	}
	plain, _ := b.addresses()
	return &peer{name: "relay", version: versionOf(cc, "--version"), http: plain, argv: []string{bin, port(plain), port(b.origin)}}, nil
}

func (b *bench) nginx() (*peer, error) {
	bin, err := exec.LookPath("nginx")
	if err != nil {
		return nil, nil
	}
	p := &peer{name: "nginx", version: versionOf(bin, "-v")}
	p.http, p.https = b.addresses()
	p.config = fmt.Sprintf(`daemon off; worker_processes 1; pid %[1]s/nginx.pid; error_log %[1]s/nginx.err; worker_rlimit_nofile 40000;
events { worker_connections 30000; }
http {
  access_log %[1]s/nginx.log combined buffer=64k flush=1s; sendfile on; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 300s;
  client_max_body_size 0; proxy_request_buffering off;
  client_body_temp_path %[1]s/nb; proxy_temp_path %[1]s/np; fastcgi_temp_path %[1]s/nf; uwsgi_temp_path %[1]s/nu; scgi_temp_path %[1]s/ns;
  ssl_protocols TLSv1.3; ssl_session_cache shared:s:10m; ssl_session_tickets on;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream o { server %[2]s; keepalive 128; keepalive_requests 100000000; }
  server {
    listen %[3]s backlog=4096; listen %[4]s ssl http2 backlog=4096; ssl_certificate %[5]s; ssl_certificate_key %[6]s;
    location / { proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Host $host; proxy_set_header Connection $connection_upgrade;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; }
  }
}
`, b.dir, b.origin, p.http, p.https, b.cert, b.key)
	file := filepath.Join(b.dir, "nginx.conf")
	p.argv = []string{bin, "-c", file, "-p", b.dir}
	return p, os.WriteFile(file, []byte(p.config), 0o600)
}

func (b *bench) haproxy() (*peer, error) {
	bin, err := exec.LookPath("haproxy")
	if err != nil {
		return nil, nil
	}
	p := &peer{name: "haproxy", version: versionOf(bin, "-v"), sticky: true}
	p.http, p.https = b.addresses()
	p.config = fmt.Sprintf(`global
  nbthread 1
  no strict-limits
  maxconn 10400
  maxpipes 400
  log stdout format raw local0
  ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
  mode http
  log global
  option httplog
  option forwardfor
  option splice-response
  option splice-request
  http-reuse always
  timeout connect 5s
  timeout client 300s
  timeout server 60s
  timeout tunnel 1h
frontend f
  bind %s backlog 4096
  bind %s ssl crt %s alpn h2,http/1.1 backlog 4096
  use_backend s if { hdr(host) -i sticky.test }
  default_backend p
backend p
  server a %s pool-max-conn 128
backend s
  cookie portico-s insert indirect nocache
  server a %s cookie a pool-max-conn 128
`, p.http, p.https, b.cert+".pem", b.origin, b.origin)
	file := filepath.Join(b.dir, "haproxy.cfg")
	p.argv = []string{bin, "-f", file, "-db"}
	return p, os.WriteFile(file, []byte(p.config), 0o600)
}

func (b *bench) caddy() (*peer, error) {
	bin, err := exec.LookPath("caddy")
	if err != nil {
		home, _ := exec.Command("go", "env", "GOPATH").Output()
		bin = filepath.Join(strings.TrimSpace(string(home)), "bin", "caddy")
		if _, err := os.Stat(bin); err != nil {
			return nil, nil
		}
	}
	p := &peer{name: "caddy", version: moduleVersion(bin), sticky: true}
	p.http, p.https = b.addresses()
	p.config = fmt.Sprintf(`{
  admin off
  auto_https off
  servers {
    timeouts {
      idle 5m
    }
  }
}
(work) {
  bind 127.0.0.1
  log {
    output file %[3]s/caddy.log
  }
  @sticky host sticky.test
  reverse_proxy @sticky %[6]s {
    lb_policy cookie
  }
  reverse_proxy %[6]s {
    transport http {
      keepalive_idle_conns_per_host 128
    }
  }
}
http://:%[1]s {
  import work
}
https://:%[2]s {
  tls %[4]s %[5]s
  import work
}
`, port(p.http), port(p.https), b.dir, b.cert, b.key, b.origin)
	file := filepath.Join(b.dir, "Caddyfile")
	p.argv = []string{bin, "run", "--adapter", "caddyfile", "--config", file}
	return p, os.WriteFile(file, []byte(p.config), 0o600)
}

// portico runs its data path in a process of its own, with the access log, counters and histograms on.
func (b *bench) portico(engine string) func() (*peer, error) {
	return b.tree("portico-"+engine, "this tree, "+engine, b.self, engine)
}

// other is the loop engine of another tree, as another build of the bench has it.
func (b *bench) other() (*peer, error) {
	if b.beside == "" {
		return nil, nil
	}
	return b.tree("portico-beside", b.beside, b.beside, "loop")()
}

func (b *bench) tree(name, version, binary, engine string) func() (*peer, error) {
	return func() (*peer, error) {
		p := &peer{name: name, version: version, sticky: true}
		p.http, p.https = b.addresses()
		p.argv = []string{binary, "-role", "portico", engine, p.http, p.https, b.origin, b.cert, b.key, filepath.Join(b.dir, name+".log"), strconv.Itoa(b.sites)}
		return p, nil
	}
}

func runPortico(args []string) error {
	engine, plain, secure, origin, cert, key, logPath := args[0], args[1], args[2], args[3], args[4], args[5], args[6]
	count, _ := strconv.Atoi(args[7])
	manager, err := certs.New(certs.Options{Files: []certs.File{{Cert: cert, Key: key}}})
	if err != nil {
		return err
	}
	defer manager.Close()
	l, err := accesslog.New(accesslog.JSON, logPath, nil)
	if err != nil {
		return err
	}
	s, err := proxy.New(proxy.Options{
		Conf: conf.Proxy{
			HTTP: plain, HTTPS: secure, Engine: engine, Recent: 1000,
			Timeouts:    conf.ProxyTimeouts{Idle: units.Duration(5 * time.Minute)},
			Connections: conf.ProxyConnections{Idle: 128, IdleTimeout: units.Duration(time.Minute)},
		},
		Keys: []seal.Key{seals.NewKey(1, time.Now())}, TLS: manager.TLSConfig(), AccessLog: l,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	if err := s.Listen(); err != nil {
		return err
	}
	up := []conf.Upstream{{Name: "a", Addr: origin}}
	health := sites.Health{Type: "tcp", Interval: units.Duration(2 * time.Second)}
	list := []conf.Site{
		{Name: "small", Upstreams: up, Front: sites.Front{Hosts: []string{"small.test"}, Health: health, Session: sites.Session{Sticky: "none"}, TLS: sites.TLS{Redirect: "off"}}},
		{Name: "sticky", Upstreams: up, Front: sites.Front{Hosts: []string{"sticky.test"}, Health: health, TLS: sites.TLS{Redirect: "off"}}},
	}
	for i := range count {
		site := conf.Site{Name: fmt.Sprintf("site%d", i), Front: sites.Front{Hosts: []string{fmt.Sprintf("site%d.test", i)}, Health: sites.Health{Type: "tcp", Interval: units.Duration(time.Minute)}, TLS: sites.TLS{Redirect: "off"}}}
		for j := range 4 {
			site.Upstreams = append(site.Upstreams, conf.Upstream{Name: strconv.Itoa(j), Addr: origin})
		}
		list = append(list, site)
	}
	s.SetStatic(list)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if name := os.Getenv("PORTICO_BENCH_PROFILE"); name != "" { // a CPU profile of the whole life
		f, err := os.Create(name + "." + engine)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer func() {
			pprof.StopCPUProfile()
			_ = f.Close()
		}()
	}
	return s.Serve(ctx)
}

// start runs a peer and waits until it answers.
func (b *bench) start(p *peer) error {
	p.cmd = pinned(b.proxyCore, p.argv...)
	logFile, err := os.Create(filepath.Join(b.dir, p.name+".out"))
	if err != nil {
		return err
	}
	p.cmd.Stdout, p.cmd.Stderr = logFile, logFile
	if err := p.cmd.Start(); err != nil {
		return err
	}
	_ = logFile.Close()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if answersAt(p.http) {
			return nil
		}
	}
	out, _ := os.ReadFile(filepath.Join(b.dir, p.name+".out"))
	return fmt.Errorf("%s does not answer: %s", p.name, bytes.TrimSpace(out))
}

func answersAt(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.Write([]byte("GET /s HTTP/1.1\r\nHost: small.test\r\n\r\n"))
	b := make([]byte, 12)
	_, _ = c.Read(b)
	return string(b) == "HTTP/1.1 200"
}

func (p *peer) stop() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-done
	}
}
