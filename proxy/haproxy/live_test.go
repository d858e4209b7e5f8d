package haproxy_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"portico/balancer/seal"
	"portico/conf/sites"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/proxy/haproxy"
	"portico/tests/support/seals"
)

// haproxyRun is a running HAProxy that listens on sockets which the test made.
type haproxyRun struct {
	http, https string
	client      *http.Client
}

// start runs HAProxy with o until the test ends.
func start(t *testing.T, o haproxy.Options) *haproxyRun {
	t.Helper()
	dir := t.TempDir()
	writeBundle(t, dir, "shop.example.com")
	return startIn(t, dir, o)
}

// startIn is start with companion files that dir holds already.
func startIn(t *testing.T, dir string, o haproxy.Options) *haproxyRun {
	t.Helper()
	bin := haproxyBinary(t)
	certs := t.TempDir()
	writeCert(t, dir, certs)
	run := &haproxyRun{}
	o.Dir, o.CertDir, o.Stats, o.Bare = dir, certs, "off", true
	var files []*os.File
	for i, target := range []*string{&run.http, &run.https} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*target = l.Addr().String()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close() // f keeps the socket
		defer func() { _ = f.Close() }()
		files = append(files, f)
		if i == 0 {
			o.HTTP = "fd@3"
		} else {
			o.HTTPS = "fd@4"
		}
	}
	path := filepath.Join(dir, haproxy.ConfigFile)
	if err := os.WriteFile(path, []byte(export(t, o)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, bin, "-db", "-f", path)
	cmd.ExtraFiles = files
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the test's own certificate
	run.client = &http.Client{Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	return run
}

func (h *haproxyRun) get(t *testing.T, scheme, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	addr := h.http
	if scheme == "https" {
		addr = h.https
	}
	req, err := http.NewRequest("GET", scheme+"://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "shop.example.com"
	for k, v := range header {
		req.Header[k] = v
	}
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// upstream answers with its name, the path and the fields that matter.
func upstream(t *testing.T, name string, checked chan<- string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/up" {
			select {
			case checked <- name:
			default:
			}
			return
		}
		_, _ = fmt.Fprintf(w, "%s %s\n", name, r.URL.Path)
		for k, v := range r.Header {
			_, _ = fmt.Fprintf(w, "%s: %s\n", k, strings.Join(v, ", "))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// awaitChecks waits until HAProxy has asked n servers for their health.
func awaitChecks(t *testing.T, checked <-chan string, n int) {
	t.Helper()
	late := time.After(30 * time.Second)
	for seen := map[string]bool{}; len(seen) < n; {
		select {
		case name := <-checked:
			seen[name] = true
		case <-late:
			t.Fatalf("HAProxy has checked %d of %d servers", len(seen), n)
		}
	}
}

func static(name string, s sites.Settings, servers ...haproxy.StaticServer) haproxy.StaticSite {
	s.Health.Path, s.Health.Interval, s.Health.Timeout = "/up", units.Duration(100*time.Millisecond), units.Duration(10*time.Second)
	return haproxy.StaticSite{Name: name, Settings: s, Servers: servers}
}

func server(name string, s *httptest.Server) haproxy.StaticServer {
	return haproxy.StaticServer{ID: name, Name: name, Addr: s.Listener.Addr().String()}
}

// TestSharedPins: HAProxy keeps visitors whom portico pinned, and portico can
// read the pins that HAProxy sets.
func TestSharedPins(t *testing.T) {
	checked := make(chan string, 8)
	one, two := upstream(t, "one", checked), upstream(t, "two", checked)
	o := haproxy.Options{View: &catalog.View{}, Tokens: tokens, Static: []haproxy.StaticSite{
		static("shop", sites.Settings{Front: sites.Front{Hosts: []string{"shop.example.com"}}}, server("one", one), server("two", two)),
	}}
	h := start(t, o)
	awaitChecks(t, checked, 2)
	sealer, err := seal.NewSealer("shop", []seal.Key{{ID: 1, Secret: secret}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	for _, name := range []string{"one", "two"} {
		value := string(sealer.Seal(nil, seal.Cookie{Token: sealer.Token(name), Session: 7, Issued: now, Start: now}))
		for range 6 {
			resp, body := h.get(t, "http", "/", http.Header{"Cookie": {"a=b; portico-shop=" + value}})
			if !strings.HasPrefix(body, name+" ") {
				t.Fatalf("a visitor pinned to %s came to %q (%d)", name, body, resp.StatusCode)
			}
			if resp.Header.Get("Set-Cookie") != "" {
				t.Fatalf("HAProxy replaced a sealed cookie: %q", resp.Header.Get("Set-Cookie"))
			}
			if strings.Contains(body, "portico-shop") || !strings.Contains(body, "a=b") {
				t.Fatalf("cookies at the instance: %q", body)
			}
		}
	}
	for range 4 {
		resp, body := h.get(t, "http", "/", nil)
		cookies := resp.Cookies()
		if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].Secure || cookies[0].SameSite != http.SameSiteLaxMode || cookies[0].Path != "/" {
			t.Fatalf("cookies %q", resp.Header["Set-Cookie"])
		}
		c, refusal := seals.Open(sealer, []byte(cookies[0].Value))
		name, _, _ := strings.Cut(body, " ")
		if refusal != seal.Honoured || !c.Bare || c.Token != sealer.Token(name) {
			t.Fatalf("HAProxy's cookie %q for %s: %+v %s", cookies[0].Value, name, c, refusal)
		}
	}
	resp, _ := h.get(t, "https", "/", nil)
	if c := resp.Cookies(); len(c) != 1 || !c[0].Secure || !c[0].HttpOnly {
		t.Errorf("cookie over HTTPS: %q", resp.Header["Set-Cookie"])
	}
	_, body := h.get(t, "http", "/", http.Header{"Cookie": {"portico-shop=" + sealer.Token("nobody").String() + "|zz|x"}})
	if !strings.HasPrefix(body, "one ") && !strings.HasPrefix(body, "two ") {
		t.Errorf("an unknown token: %q", body)
	}
}

// TestRouting: the same host and path rules as portico, and the same fields
// towards the site.
func TestRouting(t *testing.T) {
	checked := make(chan string, 64)
	names := []string{"root", "app", "appx", "wild", "deep", "any", "part"}
	servers := map[string]*httptest.Server{}
	for _, n := range names {
		servers[n] = upstream(t, n, checked)
	}
	site := func(name, host, path string, strip bool) haproxy.StaticSite {
		s := sites.Settings{Front: sites.Front{Path: path, Strip: strip}}
		if host != "" {
			s.Hosts = []string{host}
		}
		return static(name, s, server(name, servers[name]))
	}
	redirected := site("wild", "*.example.com", "", false)
	h := start(t, haproxy.Options{View: &catalog.View{}, Tokens: tokens, Static: []haproxy.StaticSite{
		site("root", "shop.example.com", "/", false),
		site("app", "shop.example.com", "/app", true),
		site("appx", "shop.example.com", "/app/x", false),
		redirected,
		site("deep", "*.dev.example.com", "/", false),
		site("any", "", "/only", false),
		site("part", "part.example.com", "/part", false),
	}})
	awaitChecks(t, checked, len(names))
	for _, c := range []struct{ host, path, want string }{
		{"shop.example.com", "/", "root /"},
		{"SHOP.Example.com.:8080", "/apple", "root /apple"},
		{"shop.example.com", "/app", "app /"},
		{"shop.example.com", "/app/", "app /"},
		{"shop.example.com", "/app/y?z=1", "app /y"},
		{"shop.example.com", "//app/y", "400"}, // found under /app, and not spelled so: it could not be stripped
		{"shop.example.com", "/app/x/y", "appx /app/x/y"},
		{"shop.example.com", "/%61pp/x", "appx /app/x"},
		{"shop.example.com", "/app/../admin", "400"},
		{"shop.example.com", "/app/%2e%2e/admin", "400"},
		{"shop.example.com", "/app%2Fx", "root /app/x"},
		{"other.example.com", "/", "wild /"},
		{"a.dev.example.com", "/", "deep /"},
		{"unknown.test", "/", "404"},
		{"part.example.com", "/part/x", "part /part/x"},
		{"part.example.com", "/only", "404"}, // the exact host decides alone
		{"x.example.com", "/only", "wild /only"},
		{"unknown.test", "/only/this", "any /only/this"},
	} {
		resp, body := h.get(t, "http", c.path, http.Header{"Host": {c.host}})
		got, _, _ := strings.Cut(body, "\n")
		if resp.StatusCode != 200 {
			got = fmt.Sprint(resp.StatusCode)
		}
		if got != c.want {
			t.Errorf("%s%s: %q, want %q", c.host, c.path, got, c.want)
		}
	}
	_, body := h.get(t, "https", "/app/y", http.Header{
		"X-Forwarded-For": {"6.6.6.6"}, "X-Forwarded-User": {"root"}, "Forwarded": {"for=6.6.6.6"}, "X-Real-Ip": {"6.6.6.6"},
		"X_forwarded_for": {"6.6.6.6"}, "Portico-Session-Lost": {"cause=lie"},
	})
	for _, want := range []string{"X-Forwarded-For: 127.0.0.1\n", "X-Forwarded-Proto: https\n", "X-Forwarded-Host: shop.example.com\n", "X-Forwarded-Prefix: /app\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("missing %q in %q", want, body)
		}
	}
	for _, bad := range []string{"6.6.6.6", "root", "cause=lie"} {
		if strings.Contains(body, bad) {
			t.Errorf("the client's %q went through: %q", bad, body)
		}
	}
}

// TestPostOnce: a request that an upstream took and did not answer is not sent
// again.
func TestPostOnce(t *testing.T) {
	var posts atomic.Int64
	checked := make(chan string, 8)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/up" {
			select {
			case checked <- "up":
			default:
			}
			return
		}
		posts.Add(1)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	h := start(t, haproxy.Options{View: &catalog.View{}, Tokens: tokens, Static: []haproxy.StaticSite{
		static("shop", sites.Settings{}, server("one", s), haproxy.StaticServer{ID: "two", Name: "two", Addr: s.Listener.Addr().String()}),
	}})
	awaitChecks(t, checked, 1)
	resp, err := h.client.Post("http://"+h.http+"/buy", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode < 500 || posts.Load() != 1 {
		t.Errorf("status %d, %d posts", resp.StatusCode, posts.Load())
	}
}

// TestAgents: HAProxy reaches an instance through its agent, by mutual TLS, and
// refuses a machine at that address that has another member's certificate.
func TestAgents(t *testing.T) {
	for member, want := range map[string]int{"app-1": http.StatusOK, "app-2": http.StatusServiceUnavailable} {
		t.Run(member, func(t *testing.T) {
			dir := t.TempDir()
			writeBundle(t, dir, "app-1.member.portico", "*.app-1.member.portico")
			cert, err := tls.LoadX509KeyPair(filepath.Join(dir, haproxy.ClientFile), filepath.Join(dir, haproxy.ClientFile))
			if err != nil {
				t.Fatal(err)
			}
			asked := make(chan string, 8)
			agent := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.TLS.ServerName)
			}))
			agent.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert,
				GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
					select {
					case asked <- h.ServerName:
					default:
					}
					return nil, nil
				}}
			agent.Config.ErrorLog = log.New(io.Discard, "", 0)
			agent.StartTLS()
			t.Cleanup(agent.Close)
			v := &catalog.View{
				Members:   map[string]*catalog.Member{member: {Name: member, Admission: catalog.Accepted, Addr: agent.Listener.Addr().String()}},
				Sites:     map[string]*catalog.Site{"shop": {Name: "shop", Release: "r", Manifest: sites.Settings{Front: sites.Front{Health: sites.Health{Interval: units.Duration(100 * time.Millisecond), Fall: 1}}}}},
				Instances: map[string]*catalog.Instance{id("a"): {ID: id("a"), Site: "shop", Release: "r", Member: member}},
			}
			h := startIn(t, dir, options(v))
			select {
			case name := <-asked:
				if want := id("a") + "." + member + ".member.portico"; name != want {
					t.Errorf("HAProxy asked for %q, want %q", name, want)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("HAProxy did not come")
			}
			resp, body := h.get(t, "http", "/", nil)
			if resp.StatusCode != want {
				t.Errorf("%d %q, want %d", resp.StatusCode, body, want)
			}
		})
	}
}
