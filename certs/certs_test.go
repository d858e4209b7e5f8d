package certs_test

import (
	"crypto/tls"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/certs"
	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/tests/support/freeport"
	"portico/tests/support/pebble"
	"portico/tests/support/selfsigned"
)

func discard() *log.Logger { return log.New(io.Discard, "", 0) }

// logger shows what happened when a test has failed.
func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// site returns a view with one installed site.
func site(name string, tls sites.TLS, hosts ...string) *catalog.View {
	s := &catalog.Site{Name: name, Release: strings.Repeat("0", 64), Manifest: sites.Settings{Front: sites.Front{Hosts: hosts, TLS: tls}}}
	return &catalog.View{Sites: map[string]*catalog.Site{name: s}}
}

func manager(t *testing.T, o certs.Options) *certs.Manager {
	t.Helper()
	o.Logger = logger(t)
	m, err := certs.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

const testHost = "shop.portico.test"

func TestHTTPChallengeThenRestartWithoutDirectory(t *testing.T) {
	port := freeport.Get(t)
	p := pebble.Start(t, port, freeport.Get(t))
	dir := t.TempDir()
	c := openCatalog(t, dir)
	plain, secure := listen(t, port), listen(t, 0)
	o := certs.Options{Catalog: c, Directory: p.Directory, Root: p.Root, Email: "ops@portico.test", HTTPPort: port}
	m := manager(t, o)
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "site") })
	serve(t, plain, m.HTTPChallengeHandler(pages))
	serve(t, tls.NewListener(secure, m.TLSConfig()), pages)
	addr := secure.Addr().String()

	if _, err := leafOf(t, addr, testHost); err == nil || m.HasCertificate(testHost) {
		t.Fatal("there is a certificate for a host that no site has")
	}
	m.Sync(site("shop", sites.TLS{}, testHost))
	eventually(t, "the certificate is there", func() bool { return m.HasCertificate(testHost) })
	first, err := leafOf(t, addr, testHost)
	if err != nil || !isPebble(first) {
		t.Fatal(first, err)
	}

	if err := m.Renew(t.Context(), testHost); err != nil {
		t.Fatal(err)
	}
	second, err := leafOf(t, addr, testHost)
	if err != nil || second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Fatal("the certificate is the old one after renewal:", err)
	}

	// The directory goes away: renewal fails, what is there stays in use.
	p.Stop()
	if err := m.Renew(t.Context(), testHost); err == nil {
		t.Fatal("renewed by nobody")
	}
	if kept, err := leafOf(t, addr, testHost); err != nil || kept.SerialNumber.Cmp(second.SerialNumber) != 0 {
		t.Fatal("the certificate is not in use any more:", err)
	}
	if s := m.Status(); len(s) != 1 || s[0].Error == "" || s[0].Source != "acme" || !s[0].NotAfter.Equal(second.NotAfter) {
		t.Errorf("status %+v", s)
	}

	// A restart with the directory still away finds it in the catalog, at the
	// first handshake.
	m.Close()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	o.Catalog = openCatalog(t, dir)
	again := manager(t, o)
	third := listen(t, 0)
	serve(t, tls.NewListener(third, again.TLSConfig()), pages)
	again.Sync(site("shop", sites.TLS{}, testHost))
	if kept, err := leafOf(t, third.Addr().String(), testHost); err != nil || kept.SerialNumber.Cmp(second.SerialNumber) != 0 {
		t.Fatal("after a restart:", err)
	}
	again.Sync(&catalog.View{})
	if _, err := leafOf(t, third.Addr().String(), testHost); err == nil {
		t.Error("a removed site's certificate is still served")
	}
}

func TestTLSALPNChallenge(t *testing.T) {
	port := freeport.Get(t)
	p := pebble.Start(t, freeport.Get(t), port)
	secure := listen(t, port)
	m := manager(t, certs.Options{Catalog: openCatalog(t, t.TempDir()), Directory: p.Directory, Root: p.Root, TLSPort: port})
	serve(t, tls.NewListener(secure, m.TLSConfig()), http.NotFoundHandler())
	m.Sync(site("shop", sites.TLS{}, testHost, "www."+testHost))
	for _, host := range []string{testHost, "www." + testHost} {
		eventually(t, "the certificate of "+host+" is there", func() bool { return m.HasCertificate(host) })
		if leaf, err := leafOf(t, secure.Addr().String(), host); err != nil || !isPebble(leaf) {
			t.Fatal(leaf, err)
		}
	}
}

// A failed attempt is shown, and not repeated at once.
func TestFailureIsShown(t *testing.T) {
	p := pebble.Start(t, freeport.Get(t), freeport.Get(t))
	port := freeport.Get(t)
	taken := listen(t, port) // the directory looks elsewhere
	m := manager(t, certs.Options{Catalog: openCatalog(t, t.TempDir()), Directory: p.Directory, Root: p.Root, HTTPPort: port})
	serve(t, taken, m.HTTPChallengeHandler(http.NotFoundHandler()))
	m.Sync(site("shop", sites.TLS{}, testHost))
	eventually(t, "the failure shows", func() bool { return m.Status()[0].Error != "" && !m.Status()[0].Next.IsZero() })
	s := m.Status()[0]
	if wait := time.Until(s.Next); wait < 30*time.Second || wait > 2*time.Minute || m.HasCertificate(testHost) {
		t.Errorf("next attempt in %s, status %+v", wait, s)
	}
}

// An ACME directory is spoken to over TLS or not at all (A2).
func TestDirectoryMustBeHTTPS(t *testing.T) {
	for _, d := range []string{"http://127.0.0.1/dir", "ftp://ca.example.com", "https://", "ca.example.com", "://"} {
		if _, err := certs.New(certs.Options{Directory: d}); err == nil {
			t.Errorf("%q was taken", d)
		}
	}
	if _, err := certs.New(certs.Options{Directory: certs.LetsEncrypt, Root: []byte("no PEM")}); err == nil {
		t.Error("a root without a certificate was taken")
	}
}

// Strangers cannot make the proxy ask for certificates (A3), nor reach a site below
// the challenges' path (A8).
func TestOnlyPublicNamesOfSites(t *testing.T) {
	m := manager(t, certs.Options{Catalog: openCatalog(t, t.TempDir()), Directory: certs.LetsEncrypt})
	m.Sync(site("shop", sites.TLS{}, "localhost", "shop.test", "box.local", "intranet", "192.0.2.1", "*.example.com", "x.internal"))
	for _, s := range m.Status() {
		if s.Source != "none" || s.Error == "" {
			t.Errorf("%+v", s)
		}
	}
	if n := len(m.Status()); n != 7 {
		t.Error(n, "hosts")
	}
	reached := false
	h := m.HTTPChallengeHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	for _, host := range []string{"shop.test", "stranger.example.com", "[::1]:80", ""} {
		r := httptest.NewRequest("GET", "/.well-known/acme-challenge/x", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusNotFound || reached {
			t.Errorf("host %q: status %d, reached the site: %v", host, w.Code, reached)
		}
	}
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if !reached {
		t.Error("another request did not reach the site")
	}
}

func TestFilesAndInternal(t *testing.T) {
	c := openCatalog(t, t.TempDir())
	a := authority(t, c)
	work := t.TempDir()
	writePair(t, a, filepath.Join(work, "one"), "shop.example.com", "*.example.org")
	o := certs.Options{Catalog: c, Authority: a, Files: []certs.File{{Cert: filepath.Join(work, "one.pem"), Key: filepath.Join(work, "one.key")}}}
	m := manager(t, o)
	ln := listen(t, 0)
	serve(t, tls.NewListener(ln, m.TLSConfig()), http.NotFoundHandler())
	v := site("shop", sites.TLS{Mode: "internal"}, "shop.example.com", "inside.lan", "*.inside.lan")
	m.Sync(v)
	for host, want := range map[string]string{
		"shop.example.com": "portico", "a.example.org": "portico", "SHOP.example.com": "portico",
		"inside.lan": "portico", "deep.inside.lan": "portico",
		"a.b.example.org": "", "other.example.com": "",
	} {
		leaf, err := leafOf(t, ln.Addr().String(), host)
		if (err == nil) != (want != "") {
			t.Errorf("%s: %v", host, err)
		}
		if err == nil && m.HasCertificate(host) != !strings.HasPrefix(host, "deep.") {
			t.Errorf("%s: HasCertificate is %v, leaf %v", host, m.HasCertificate(host), leaf.DNSNames)
		}
	}
	for _, s := range m.Status() {
		if want := map[string]string{"shop.example.com": "file", "inside.lan": "internal", "*.inside.lan": "internal"}[s.Host]; s.Source != want {
			t.Errorf("%+v, want source %s", s, want)
		}
		if of := m.StatusOf([]string{"nobody.example.com", s.Host}); len(of) != 1 || of[0] != s {
			t.Errorf("asked for %s alone: %+v, want %+v", s.Host, of, s)
		}
	}

	// Bad files change nothing, and all are named.
	err := m.SetFiles([]certs.File{{Cert: "/nowhere/a.pem", Key: "/nowhere/a.key"}, {Cert: filepath.Join(work, "one.pem"), Key: filepath.Join(work, "one.pem")}})
	if err == nil || !strings.Contains(err.Error(), "/nowhere/a.pem") || !strings.Contains(err.Error(), "one.pem") {
		t.Error(err)
	}
	if _, err := leafOf(t, ln.Addr().String(), "shop.example.com"); err != nil {
		t.Error(err)
	}

	// TLS 1.1 is not spoken.
	if _, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{ServerName: "shop.example.com", InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

// writePair has the authority issue a pair of files.
func writePair(t *testing.T, a *certs.Authority, base string, names ...string) {
	t.Helper()
	pair, err := a.IssueServer(names)
	if err != nil {
		t.Fatal(err)
	}
	selfsigned.Write(t, *pair, base+".pem", base+".key")
}
