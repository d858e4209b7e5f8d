package tests

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"portico/proxy/admin/api"
	"portico/tests/harness"
	"portico/tests/support/selfsigned"
)

// A visitor who comes back resumes the TLS session although the proxy was killed
// and started anew, whatever engine serves, until an operator makes the tickets
// worthless. The admin listener takes none of them.
func TestTicketsOutliveTheProxy(t *testing.T) {
	for _, engine := range []string{"auto", "conn"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			p, roots := startWithCertificate(t, "--set", "proxy.engine="+engine)
			visitors := map[string]*tls.Config{}
			for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
				visitors[name] = visitor(roots, version)
			}
			visit := func(when string, resumed bool) {
				t.Helper()
				for name, c := range visitors {
					if got := resumes(t, p.HTTPS, c); got != resumed {
						t.Errorf("%s, %s: resumed %v, want %v", when, name, got, resumed)
					}
				}
			}
			visit("a first visit", false)
			visit("the second", true)
			p.Kill()
			p.Restart()
			p.WaitReady()
			visit("after a restart", true)

			both := visitor(roots, tls.VersionTLS13)
			both.RootCAs, both.InsecureSkipVerify = nil, true // the admin listener has another certificate
			if resumes(t, p.HTTPS, both) || resumes(t, p.Admin, both) {
				t.Error("the admin listener took a visitor's ticket")
			}

			var keys []api.KeyInfo
			p.JSON(&keys, "keys", "rotate", "tickets", "--json")
			wantTicketKeys(t, keys)
			harness.Eventually(t, time.Minute, func() error {
				if resumes(t, p.HTTPS, visitors["TLS 1.3"]) {
					return errf("a ticket of the former keys still opens")
				}
				return nil
			})
			if resumes(t, p.HTTPS, visitors["TLS 1.2"]) {
				t.Error("a ticket of the former keys still opens with TLS 1.2")
			}
			visit("with the new keys", true)
		})
	}
}

// visitor is a client of localhost that keeps its tickets.
func visitor(roots *x509.CertPool, version uint16) *tls.Config {
	return &tls.Config{
		RootCAs: roots, ServerName: "localhost", MinVersion: version, MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
}

// wantTicketKeys looks for one ticket key in use and one that comes next.
func wantTicketKeys(t *testing.T, keys []api.KeyInfo) {
	t.Helper()
	var got []string
	for _, k := range keys {
		if k.Kind == api.KeyTickets {
			got = append(got, fmt.Sprint(k.ID, k.Primary, k.Next))
		}
	}
	if want := []string{"4 false true", "3 true false"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("ticket keys %q, want %q", got, want)
	}
}

// startWithCertificate starts a proxy that has a certificate for localhost.
func startWithCertificate(t *testing.T, args ...string) (*harness.Proxy, *x509.CertPool) {
	t.Helper()
	config, roots := certificateConfig(t, "")
	return harness.StartProxy(t, append(config, args...)...), roots
}

// certificateConfig returns the arguments for a proxy that has a certificate for localhost, and
// more in its configuration file.
func certificateConfig(t *testing.T, more string) (args []string, roots *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	cert, key, file := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "portico.toml")
	selfsigned.Write(t, selfsigned.New(t, "localhost"), cert, key)
	text := fmt.Sprintf("[tls]\nacme = \"\"\n[[tls.certificate]]\ncert = %q\nkey = %q\n%s", cert, key, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return []string{"--config", file}, roots
}

// resumes makes a connection, has one request answered, and reports whether the
// session was resumed.
func resumes(t *testing.T, addr string, config *tls.Config) bool {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return c.ConnectionState().DidResume
}
