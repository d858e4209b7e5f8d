package tests

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
	"portico/tests/support/freeport"
	"portico/tests/support/pebble"
)

// A site gets its certificate from a real ACME server without being asked
// twice, plain HTTP leads there, and a restart asks for nothing.
func TestCertificatesByThemselves(t *testing.T) {
	t.Parallel()
	plain, secured := freeport.Get(t), freeport.Get(t)
	httpAddr, httpsAddr := fmt.Sprintf("127.0.0.1:%d", plain), fmt.Sprintf("127.0.0.1:%d", secured)
	acme := pebble.Start(t, plain, secured)
	p := harness.StartProxy(t, "--http", httpAddr, "--https", httpsAddr,
		"--set", "tls.acme="+acme.Directory, "--set", "tls.acme_root="+acme.RootFile, "--set", "tls.email=ops@example.com")
	p.AddServer("server-1")
	p.Must("deploy", "shop", harness.App("static"), "--host", "shop.example.com")

	roots := acme.Issuers(t)
	var serial string
	harness.Eventually(t, time.Minute, func() error {
		state, err := handshake(httpsAddr, "shop.example.com", roots)
		if err == nil {
			serial = state.PeerCertificates[0].SerialNumber.String()
		}
		return err
	})
	v := harness.NewVisitor(t, httpAddr, "shop.example.com")
	v.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, _, err := v.Do(http.MethodGet, "/css/site.css?x=1", nil)
	if err != nil || resp.StatusCode != http.StatusPermanentRedirect && resp.StatusCode != http.StatusMovedPermanently {
		t.Fatalf("plain HTTP answers %v %v", resp, err)
	}
	_, port, _ := net.SplitHostPort(httpsAddr)
	if to := resp.Header.Get("Location"); to != "https://shop.example.com:"+port+"/css/site.css?x=1" {
		t.Errorf("plain HTTP leads to %q", to)
	}
	if _, err := handshake(httpsAddr, "stranger.example.com", roots); err == nil {
		t.Error("a host of no site has a certificate")
	}

	secure := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", httpsAddr)
		}}}
	t.Cleanup(secure.CloseIdleConnections)
	resp, err = secure.Get("https://shop.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK {
		t.Errorf("over TLS: HTTP/%d, %s", resp.ProtoMajor, resp.Status)
	}
	for _, c := range resp.Cookies() {
		if c.Name == "portico-shop" && (!c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode) {
			t.Errorf("the cookie over TLS is %v", c)
		}
	}

	secretsAreKept(t, p)
	a := p.AddServer("server-2")
	harness.Eventually(t, time.Minute, logged(a.Process, "agent is ready"))
	for what, at := range map[string][2]string{"the sites": {httpsAddr, "shop.example.com"}, "the admin listener": {p.Admin, "localhost"}, "an agent": {a.Addr, "agent"}} {
		addr := at[0]
		old := &tls.Config{ServerName: at[1], InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		if _, err := tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", addr, old); err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("%s: TLS 1.1 gets %v, want the refusal of its version (A1)", what, err)
		}
	}

	certificatesAreTold(t, p, acme)
	p.Kill()
	p.Restart()
	p.WaitReady()
	state, err := handshake(httpsAddr, "shop.example.com", roots)
	if err != nil {
		t.Fatal(err)
	}
	if got := state.PeerCertificates[0].SerialNumber.String(); got != serial {
		t.Errorf("after a restart the certificate is %s, was %s", got, serial)
	}
}

// certificatesAreTold: how a site's certificate stands is in the list of hosts, in explain, in the metrics and,
// as long as there is none, behind the deploy, with the last failure.
func certificatesAreTold(t *testing.T, p *harness.Proxy, acme *pebble.Server) {
	if out := p.Must("hosts"); !strings.Contains(out, "valid, until ") || !strings.Contains(out, "Pebble") {
		t.Errorf("the list of hosts does not tell of the certificate:\n%s", out)
	}
	if out := p.Must("explain", "https://shop.example.com/"); !strings.Contains(out, "certificate") || !strings.Contains(out, "valid, until ") {
		t.Errorf("explain does not tell of the certificate:\n%s", out)
	}
	_, text := p.API(http.MethodGet, "/metrics", nil)
	for _, want := range []string{`portico_certificate_expiry_timestamp_seconds{host="shop.example.com",source="acme"}`, `portico_certificate_failing{host="shop.example.com",source="acme"} 0`} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	acme.Stop()
	if out := p.Must("deploy", "late", harness.App("static"), "--host", "late.example.com"); !strings.Contains(out, "late.example.com: https follows") {
		t.Errorf("a deploy without a certificate says\n%s", out)
	}
	harness.Eventually(t, time.Minute, func() error {
		if out := p.Must("explain", "http://late.example.com/"); !strings.Contains(out, "last failure: ") {
			return errf("the failure is not explained:\n%s", out)
		}
		return nil
	})
	if out := p.Must("deploy", "late", harness.App("static"), "--host", "late.example.com"); !strings.Contains(out, "https follows, tried again in ") || !strings.Contains(out, "; last failure: ") {
		t.Errorf("a deploy after a failure says\n%s", out)
	}
}

// secretsAreKept: private keys are readable by nobody else, and neither the files of the catalog nor a
// backup hold any of them in the clear (A7).
func secretsAreKept(t *testing.T, p *harness.Proxy) {
	backup := filepath.Join(t.TempDir(), "backup")
	p.Must("backup", "--out", backup)
	var secrets [][]byte
	own, err := os.ReadFile(filepath.Join(p.Dir, "identity", "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(own)
	secrets = append(secrets, block.Bytes[len(block.Bytes)-24:], []byte("PRIVATE KEY"))
	sealing, err := os.ReadFile(filepath.Join(p.Dir, "identity", "catalog.key"))
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, sealing)
	looked := 0
	look := func(name string) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		looked += len(data)
		for _, secret := range secrets {
			if bytes.Contains(data, secret) {
				t.Errorf("%s holds a private key in the clear", filepath.Base(name))
			}
		}
	}
	look(backup)
	for _, folder := range []string{"identity", "catalog"} {
		err := filepath.WalkDir(filepath.Join(p.Dir, folder), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s/%s has mode %v", folder, entry.Name(), info.Mode())
			}
			if folder == "catalog" {
				look(name)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(filepath.Join(p.Dir, "client.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("client.json: %v, %v", info, err)
	}
	if looked < 10_000 {
		t.Errorf("only %d bytes were looked at", looked)
	}
	for _, path := range []string{"/v1/sites", "/v1/sites/shop", "/v1/members", "/v1/keys", "/v1/stats", "/v1/accounts", "/v1/tokens", "/metrics", "/v1/audit", "/v1/export/haproxy", "/stats"} {
		if code, body := p.API(http.MethodGet, path, nil); code != http.StatusOK || strings.Contains(body, "PRIVATE KEY") {
			t.Errorf("%s answers %d, or with a private key", path, code)
		}
	}
}

func handshake(addr, name string, roots *x509.CertPool) (tls.ConnectionState, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", addr, &tls.Config{ServerName: name, RootCAs: roots})
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), nil
}
