package harness

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// pebbleVersion is the ACME server of the tests, a module of its own.
const pebbleVersion = "v2.10.1"

// Pebble is a running ACME server with a DNS server that sends every name to
// loopback.
type Pebble struct {
	t         testing.TB
	Directory string
	RootFile  string // PEM of the authority of the directory's own certificate
	manage    string
	client    *http.Client
}

// goTool builds a program of another module once and keeps it for later runs.
func goTool(t testing.TB, pkg, version string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "portico-tests", version)
	bin := filepath.Join(dir, filepath.Base(pkg))
	if _, err := os.Stat(bin); err == nil {
		return bin
	}
	cmd := exec.Command("go", "install", pkg+"@"+version)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		missing(t, fmt.Sprintf("go install %s@%s: %v: %s", pkg, version, err, out))
	}
	return bin
}

// StartPebble starts the ACME server; it checks challenges on the given ports
// of loopback. It ends with the test.
func StartPebble(t testing.TB, httpAddr, httpsAddr string) *Pebble {
	t.Helper()
	server := goTool(t, "github.com/letsencrypt/pebble/v2/cmd/pebble", pebbleVersion)
	names := goTool(t, "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv", pebbleVersion)
	dir := t.TempDir()
	p := &Pebble{t: t, RootFile: filepath.Join(dir, "root.pem")}
	key := filepath.Join(dir, "key.pem")
	MakeServerCertificate(t, p.RootFile, key)

	dns := Addr(t)
	p.run(names, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dnsserver", dns,
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-management", Addr(t))

	listen, manage := Addr(t), Addr(t)
	config := map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": manage,
		"certificate": p.RootFile, "privateKey": key,
		"httpPort": port(httpAddr), "tlsPort": port(httpsAddr),
		"profiles": map[string]any{"default": map[string]any{"description": "ninety days", "validityPeriod": 7776000}},
	}}
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	p.run(server, "-config", file, "-dnsserver", dns, "-strict")
	p.Directory, p.manage = "https://"+listen+"/dir", "https://"+manage
	p.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.pool(p.RootFile)}}}
	t.Cleanup(p.client.CloseIdleConnections)
	Eventually(t, time.Minute, func() error {
		resp, err := p.client.Get(p.Directory)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	return p
}

func (p *Pebble) run(program string, args ...string) {
	p.t.Helper()
	log := &Log{}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if p.t.Failed() {
			p.t.Logf("--- log of %s ---\n%s", filepath.Base(program), log.Tail(30))
		}
	})
}

func (p *Pebble) pool(file string) *x509.CertPool {
	p.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		p.t.Fatalf("%s holds no certificate", file)
	}
	return pool
}

// Roots returns the authority that signs the certificates which pebble issues.
func (p *Pebble) Roots() *x509.CertPool {
	p.t.Helper()
	resp, err := p.client.Get(p.manage + "/roots/0")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		p.t.Fatalf("pebble's root is no certificate: %.100q", data)
	}
	return pool
}
