package tests

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/harness"
	"portico/tests/support/selfsigned"
)

// SIGHUP has a proxy read its file again: what can change does so at once, what cannot is named, and a bad
// file changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, access := filepath.Join(dir, "portico.toml"), filepath.Join(dir, "access.log")
	configure := func(top, site string) {
		t.Helper()
		if !strings.Contains(top, "[log]") {
			top += "\n[log]"
		}
		text := fmt.Sprintf("%s\naccess = %q\n[[site]]\nname = %q\nhosts = [\"%s.test\"]\n[[site.upstream]]\nname = \"one\"\naddr = %q\n", top, access, site, site, namedServer(t, site))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("", "before")
	p := harness.StartProxy(t, "--config", file)
	answers := func(site string, status int) {
		t.Helper()
		v := harness.NewVisitor(t, p.HTTP, site+".test")
		harness.Eventually(t, time.Minute, func() error {
			resp, _, err := v.Do(http.MethodGet, "/", nil)
			if err == nil && resp.StatusCode != status {
				err = errf("%s answers %s, not %d", site, resp.Status, status)
			}
			return err
		})
	}
	answers("before", http.StatusOK)

	configure("[proxy]\nhtpp = \":1\"\n", "after")
	p.Signal(syscall.SIGHUP)
	harness.Eventually(t, time.Minute, logged(p.Process, "configuration not reloaded"))
	answers("before", http.StatusOK)
	answers("after", http.StatusNotFound)

	configure("[proxy]\nretries = 1\n", "after")
	if err := os.Rename(access, access+".1"); err != nil {
		t.Fatal(err)
	}
	p.Signal(syscall.SIGHUP)
	harness.Eventually(t, time.Minute, logged(p.Process, "configuration reloaded"))
	harness.Eventually(t, time.Minute, logged(p.Process, `msg="setting needs a restart to take effect" setting=proxy`))
	answers("after", http.StatusOK)
	answers("before", http.StatusNotFound)

	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for range 2 { // a certificate that was not there, and another in its place
		selfsigned.Write(t, selfsigned.New(t, "localhost"), cert, key)
		configure(fmt.Sprintf("[proxy]\nretries = 1\n[[tls.certificate]]\ncert = %q\nkey = %q", cert, key), "after")
		p.Signal(syscall.SIGHUP)
		want, err := os.ReadFile(cert)
		if err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, time.Minute, func() error { return shows(p.HTTPS, want) })
	}
	if strings.Contains(p.Log(), "level=DEBUG") {
		t.Error("the log tells more than it was asked for")
	}
	configure("[log]\nlevel = \"debug\"\n", "after")
	p.Signal(syscall.SIGHUP)
	harness.Eventually(t, time.Minute, func() error {
		if n := strings.Count(p.Log(), "configuration reloaded"); n != 4 {
			return errf("the configuration was reloaded %d times", n)
		}
		return nil
	})
	p.Stop()
	if !strings.Contains(p.Log(), "level=DEBUG") {
		t.Error("the log does not tell more after it was asked for")
	}
	harness.Eventually(t, time.Minute, func() error { // the rotated log goes on in a file of its old name
		lines, err := os.ReadFile(access)
		if err == nil && len(lines) == 0 {
			err = errf("%s is empty", access)
		}
		return err
	})
}

// shows reports whether a TLS listener shows a certificate.
func shows(addr string, want []byte) error {
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
	if err != nil {
		return err
	}
	defer conn.Close()
	got := conn.ConnectionState().PeerCertificates[0]
	if block, _ := pem.Decode(want); block == nil || !bytes.Equal(block.Bytes, got.Raw) {
		return fmt.Errorf("the certificate shown is %s of %s", got.Subject, got.NotBefore)
	}
	return nil
}
