package tests

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/harness"
)

// Who starts a proxy or an agent again while the former process still ends gets no
// error about a folder or a port in use: the new one waits until the former has let
// go of both, here of a request that runs.
func TestRestartWhileTheFormerEnds(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	a := p.AddServer("server-1")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")

	release := holdRequest(t, p.HTTP)
	former := p.Process
	former.Signal(syscall.SIGTERM)
	harness.Eventually(t, 20*time.Second, logged(former, "stopping"))
	p.Process = former.Successor()
	harness.Eventually(t, 20*time.Second, logged(p.Process, "waiting for the portico on this folder"))
	if !former.Running() {
		t.Error("the former proxy has ended though a request still runs")
	}
	release()
	if code := former.Wait(30 * time.Second); code != 0 {
		t.Errorf("the former proxy ended with %d", code)
	}
	p.WaitReady()

	old := a.Process
	old.Signal(syscall.SIGTERM)
	harness.Eventually(t, 20*time.Second, logged(old, "stopping"))
	a.Process = old.Successor()
	if code := old.Wait(60 * time.Second); code != 0 {
		t.Errorf("the former agent ended with %d", code)
	}
	harness.Eventually(t, 30*time.Second, logged(a.Process, "agent is ready"))
	settled(t, p, "node", 1)
	if resp, _, err := harness.NewVisitor(t, p.HTTP, "node.test").Do(http.MethodGet, "/", nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("after both restarts the site answers %v %v", resp, err)
	}
}

// holdRequest begins a request whose answer goes on, and returns what ends it.
func holdRequest(t *testing.T, addr string) (release func()) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return holdOn(t, c)
}

// holdOn is holdRequest on a connection that is there.
func holdOn(t *testing.T, c net.Conn) (release func()) {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprint(c, "GET /events HTTP/1.1\r\nHost: node.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for line, err := "", error(nil); !strings.HasPrefix(line, "data:"); {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return func() { // a reset: an orderly end could mean that we still listen
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// A gossip port that belongs to somebody else is named, with the setting.
func TestGossipPortInUse(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(context.Background(), "tcp", harness.Addr(t))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	r := harness.Run(t, nil, "proxy", "--dir", harness.TempDir(t), "--name", "proxy-1", "--http", harness.Addr(t), "--https", harness.Addr(t),
		"--admin", harness.Addr(t), "--catalog", harness.Addr(t), "--gossip", addr)
	if r.Code != 1 || !strings.Contains(r.Stderr, addr) || !strings.Contains(r.Stderr, "gossip.address") {
		t.Errorf("exit %d, want 1 and an error that names %s and gossip.address:\n%s", r.Code, addr, r.Stderr)
	}
}
