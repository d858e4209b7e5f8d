// Package etcdtest runs an etcd in a process of its own for tests, over TLS on
// loopback: one that can be killed, and started again with what it had.
package etcdtest

import (
	"bufio"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"

	"portico/tests/support/freeport"
	"portico/tests/support/selfsigned"
)

// envJob makes a test binary play the etcd: its value is a job as JSON.
const envJob = "PORTICO_TEST_ETCD"

// job says what the other process does.
type job struct {
	Dir, Client, Peer string // folder and URLs
	CA, Cert, Key     string // PEM files
	MaxOps            uint   // of a transaction; 0: etcd's default
}

// Main plays the etcd if this process was started for that, and does not return
// then. A package whose tests call Start calls it first in its TestMain.
func Main() {
	text := os.Getenv(envJob)
	if text == "" {
		return
	}
	os.Exit(serve(text))
}

func serve(text string) int {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return 2
	}
	client, err1 := url.Parse(j.Client)
	peer, err2 := url.Parse(j.Peer)
	if err1 != nil || err2 != nil {
		return 2
	}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = "outside", j.Dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	cfg.InitialCluster = cfg.Name + "=" + peer.String()
	cfg.ClientTLSInfo = transport.TLSInfo{CertFile: j.Cert, KeyFile: j.Key, TrustedCAFile: j.CA, ClientCertAuth: true}
	cfg.UnsafeNoFsync = true // the tests kill the process, not the machine
	cfg.LogLevel, cfg.LogOutputs = "error", []string{"stderr"}
	if j.MaxOps > 0 {
		cfg.MaxTxnOps, cfg.MaxRequestBytes = j.MaxOps, 4<<20
	}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	<-e.Server.ReadyNotify()
	_, _ = os.Stdout.WriteString("ready\n")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the tests end, however they do
	e.Close()
	return 0
}

// Server is an etcd in another process.
type Server struct {
	Endpoint      string // URL
	CA, Cert, Key string // PEM files for a client

	t     testing.TB
	job   job
	cmd   *exec.Cmd
	stdin io.Closer
}

// Start runs an etcd until the test ends. maxOps bounds its transactions; 0: etcd's
// own default, which is little for portico.
func Start(t testing.TB, maxOps uint) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{
		t: t, Endpoint: "https://" + freeport.Addr(t),
		CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"),
	}
	own := selfsigned.New(t)
	selfsigned.Write(t, own, s.Cert, s.Key)
	selfsigned.Write(t, own, s.CA, s.Key) // its own root
	s.job = job{
		Dir: filepath.Join(dir, "etcd"), Client: s.Endpoint, Peer: "http://" + freeport.Addr(t),
		CA: s.CA, Cert: s.Cert, Key: s.Key, MaxOps: maxOps,
	}
	t.Cleanup(s.Kill)
	s.Restart()
	return s
}

// Restart starts the etcd again after Kill, with what it had.
func (s *Server) Restart() {
	s.t.Helper()
	text, err := json.Marshal(s.job)
	if err != nil {
		s.t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), envJob+"="+string(text))
	cmd.Stderr = os.Stderr
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		s.t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd, s.stdin = cmd, stdin
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		s.t.Fatalf("etcd says %q: %v", line, err)
	}
}

// Kill ends the etcd as kill -9 does. It may be called twice.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	_ = s.stdin.Close()
	s.cmd = nil
}
