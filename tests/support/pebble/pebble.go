// Package pebble runs Pebble for tests: the ACME server that Let's Encrypt gives to
// those who write clients. With it runs a DNS server that sends every name to
// 127.0.0.1.
package pebble

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"portico/tests/support/freeport"
	"portico/tests/support/selfsigned"
	"portico/tests/support/written"
)

// startTime is how long the server may take to answer: it is a small program, but
// the machine may be doing ten other things.
const startTime = time.Minute

// Server is a running ACME server.
type Server struct {
	Directory string // URL
	Root      []byte // PEM of the authority that signs the directory's own certificate
	RootFile  string // the same as a file, until the test ends

	management string
	client     *http.Client
	stop       []func()
}

// Start runs a server that looks for challenges at the two ports of 127.0.0.1, until
// the test ends. It skips the test where the server cannot be built, and fails it in CI.
func Start(t testing.TB, httpPort, tlsPort int) *Server {
	t.Helper()
	dir, err := programs()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("the ACME test server is needed here: ", err)
		}
		t.Skip("the ACME test server is built from its module, which needs the network once; with CI=true that is a failure: ", err)
	}
	work := t.TempDir()
	listen, management, dns := freeport.Addr(t), freeport.Addr(t), freeport.Addr(t)
	s := &Server{Directory: "https://" + listen + "/dir", RootFile: filepath.Join(work, "root.pem"), management: "https://" + management}
	key := filepath.Join(work, "root.key")
	own := selfsigned.New(t)
	s.Root, _ = selfsigned.Encode(t, own)
	selfsigned.Write(t, own, s.RootFile, key)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": management,
		"certificate": s.RootFile, "privateKey": key,
		"httpPort": httpPort, "tlsPort": tlsPort,
		"profiles": map[string]any{"default": map[string]any{"description": "ninety days", "validityPeriod": 90 * 24 * 60 * 60}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(work, "pebble.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(t, filepath.Join(dir, "pebble-challtestsrv"), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dnsserver", dns,
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-management", freeport.Addr(t))
	s.run(t, filepath.Join(dir, "pebble"), "-config", file, "-strict", "-dnsserver", dns)
	s.client = &http.Client{Timeout: startTime, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool(t, s.Root)}}}
	t.Cleanup(s.client.CloseIdleConnections)
	s.await(t)
	return s
}

// Stop ends the server before its test ends.
func (s *Server) Stop() {
	for _, stop := range s.stop {
		stop()
	}
}

// Issuers returns the authority that signs the certificates which the server issues.
func (s *Server) Issuers(t testing.TB) *x509.CertPool {
	t.Helper()
	r, err := s.client.Get(s.management + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return pool(t, data)
}

func pool(t testing.TB, data []byte) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(data) {
		t.Fatalf("%.100q is no certificate", data)
	}
	return p
}

func (s *Server) run(t testing.TB, program string, args ...string) {
	t.Helper()
	var said written.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, args...)
	// Three nonces in ten are refused, and the client has to ask anew.
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=30")
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(program), said.Tail(30))
		}
	})
	t.Cleanup(stop)
	s.stop = append(s.stop, stop)
}

// await asks for the directory until it is there.
func (s *Server) await(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Directory, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.client.Do(req)
		if err == nil {
			_ = r.Body.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the ACME server does not answer: %v", err)
		}
	}
}
