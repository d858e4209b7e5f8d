package certs_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/internal/freeport"
)

// The ACME server that Let's Encrypt gives to those who write clients.
const (
	pebbleModule  = "github.com/letsencrypt/pebble/v2/cmd/"
	pebbleVersion = "v2.10.1"
)

// pebble is a running ACME server that finds every name at 127.0.0.1.
type pebble struct {
	directory string
	root      []byte // PEM of what signs its own web server
	http, tls int    // where it looks for challenges
	stop      func()
}

// pebbleTools builds the server once per version and machine.
var pebbleTools = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "portico-tests", "bin", "pebble-"+pebbleVersion+"-"+runtime.Version())
	for _, tool := range []string{"pebble", "pebble-challtestsrv"} {
		if _, err := os.Stat(filepath.Join(dir, tool)); err == nil {
			continue
		}
		cmd := exec.Command("go", "install", pebbleModule+tool+"@"+pebbleVersion)
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "GOWORK=off")
		cmd.Dir = os.TempDir()
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go install %s: %w\n%s", tool, err, out)
		}
	}
	return dir, nil
})

// startPebble starts the server, or skips the test where it cannot be built.
func startPebble(t *testing.T) *pebble {
	t.Helper()
	dir, err := pebbleTools()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("the ACME test server is needed here: ", err)
		}
		t.Skip("no ACME test server: ", err)
	}
	work := t.TempDir()
	root := webCertificate(t, work)
	ports := make([]int, 6)
	for i := range ports {
		ports[i] = freeport.Get(t)
	}
	p := &pebble{
		directory: fmt.Sprintf("https://127.0.0.1:%d/dir", ports[0]),
		root:      root, http: ports[2], tls: ports[3],
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress":           fmt.Sprintf("127.0.0.1:%d", ports[0]),
		"managementListenAddress": fmt.Sprintf("127.0.0.1:%d", ports[1]),
		"certificate":             filepath.Join(work, "web.pem"),
		"privateKey":              filepath.Join(work, "web.key"),
		"httpPort":                p.http,
		"tlsPort":                 p.tls,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "pebble.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	dns := fmt.Sprintf("127.0.0.1:%d", ports[4])
	stopDNS := start(t, filepath.Join(dir, "pebble-challtestsrv"), nil,
		"-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dnsserver", dns, "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "",
		"-management", fmt.Sprintf("127.0.0.1:%d", ports[5]))
	stopACME := start(t, filepath.Join(dir, "pebble"), []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=30"},
		"-config", filepath.Join(work, "pebble.json"), "-strict", "-dnsserver", dns)
	p.stop = func() { stopACME(); stopDNS() }
	p.waitReady(t)
	return p
}

// waitReady asks the directory until it answers.
func (p *pebble) waitReady(t *testing.T) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.root)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Second}
	eventually(t, "the ACME server answers", func() bool {
		r, err := client.Get(p.directory)
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// start runs a program until the test ends or the returned function is called.
func start(t *testing.T, program string, env []string, args ...string) (stop func()) {
	t.Helper()
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(program), tail(out.String(), 1500))
		}
	})
	t.Cleanup(stop)
	return stop
}

func tail(s string, n int) string { return s[max(len(s)-n, 0):] }

// webCertificate writes a key pair for 127.0.0.1 and returns what signed it.
func webCertificate(t *testing.T, dir string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, data := range map[string][]byte{"web.pem": root, "web.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// eventually asks until the answer is yes, for half a minute at most.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func listen(t *testing.T, port int) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// serve runs a web server on ln until the test ends.
func serve(t *testing.T, ln net.Listener, h http.Handler) {
	t.Helper()
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ErrorLog: discard()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
}

// leafOf shakes hands as a visitor of host and returns the certificate.
func leafOf(t *testing.T, addr, host string) (*x509.Certificate, error) {
	t.Helper()
	d := &tls.Dialer{Config: &tls.Config{ServerName: host, InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	state := conn.(*tls.Conn).ConnectionState()
	if state.NegotiatedProtocol != "h2" {
		return nil, fmt.Errorf("protocol %q", state.NegotiatedProtocol)
	}
	leaf := state.PeerCertificates[0]
	return leaf, leaf.VerifyHostname(host)
}

func isPebble(c *x509.Certificate) bool {
	return c != nil && strings.Contains(c.Issuer.CommonName, "Pebble")
}

func encodePair(t *testing.T, pair *tls.Certificate) (cert, key []byte) {
	t.Helper()
	for _, der := range pair.Certificate {
		cert = append(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
