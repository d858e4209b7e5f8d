package tests

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/proxy/admin/api"
	"portico/tests/harness"
)

// The program is replaced under load, again and again: by a process that fails, which
// leaves the running one in place; by one that is started by hand; by one that the running proxy starts
// at SIGUSR2. No request fails, no visitor loses a session or is counted twice, a WebSocket lives on in the
// process that has it, which portico members shows, until it may no longer (proxy.timeouts.tunnels); uploads
// arrive whole, and each former process ends.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("sockets are handed over on Linux and macOS; elsewhere a proxy waits for the one before it, which TestRestartWhileTheFormerEnds shows")
	}
	harness.Need(t, "node")
	p, roots := startWithCertificate(t, "--set", "proxy.timeouts.drain=12s", "--set", "proxy.timeouts.tunnels=30s")
	p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test", "--host", "localhost")
	settled(t, p, "node", 2)
	idle, seen := visitors(t, p.HTTP, "node.test", "/", 6)
	for _, v := range idle {
		v.Client.CloseIdleConnections()
	}
	l := startLoad(t, p, roots)
	socket := openSocket(t, p)
	sessions := countSessions(t, p)

	t.Run("by a process that fails", func(t *testing.T) { takeOverFails(t, p, l) })
	former, handed := p.Process, time.Now()
	t.Run("by hand", func(t *testing.T) {
		p.Process = former.Successor()
		takenOver(t, p, former, p.Process, l)
		socket.echo(t)
	})
	t.Run("at a signal", func(t *testing.T) {
		p.Signal(syscall.SIGUSR2)
		takenOver(t, p, p.Process, p.Process, l) // the new one writes into the same log
	})
	t.Run("once more by hand", func(t *testing.T) {
		parent := p.Process
		p.Process = parent.Successor()
		takenOver(t, p, parent, p.Process, l)
		cut := logged(former, cutTunnel)
		harness.Eventually(t, time.Minute, func() error {
			out := p.Must("members")
			if time.Since(handed) > 30*time.Second && cut() == nil {
				return nil // a busy machine took longer for two take-overs than the WebSocket may last
			}
			if !strings.Contains(out, fmt.Sprintf("old process of proxy-1 (pid %d): 1 stream since ", former.Pid())) {
				return errf("portico members says\n%s", out)
			}
			return nil
		})
		socket.lasts(t, former)
		for _, old := range []*harness.Process{former, parent} { // the parent's log ends with its child's
			if code := old.Wait(time.Minute); code != 0 {
				t.Errorf("a former proxy ended with %d", code)
			}
		}
	})
	l.stop(t)
	stay(t, idle, seen, "/")
	harness.Eventually(t, time.Minute, func() error { // some come with the end of the process before this one
		if n := countSessions(t, p); n != sessions {
			return errf("%d sessions are counted, want %d", n, sessions)
		}
		return nil
	})
}

// takenOver waits until the new process has taken over from the former one and the load has gone
// through it.
func takenOver(t *testing.T, p *harness.Proxy, former, next *harness.Process, l *load) {
	t.Helper()
	harness.Eventually(t, time.Minute, logged(former, "handed over: running requests may finish"))
	harness.Eventually(t, time.Minute, logged(next, "taken over"))
	p.WaitReady()
	l.goesOn(t)
	settled(t, p, "node", 2)
}

// takeOverFails starts a process that cannot have the gossip's address, which it finds when it has
// opened the catalog already.
func takeOverFails(t *testing.T, p *harness.Proxy, l *load) {
	taken, err := new(net.ListenConfig).Listen(context.Background(), "tcp", harness.Addr(t))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	next := p.Successor("--gossip", taken.Addr().String())
	if code := next.Wait(time.Minute); code != 1 {
		t.Errorf("the process that fails ends with %d, want 1", code)
	}
	harness.Eventually(t, time.Minute, logged(next, "not taken over: the running proxy goes on"))
	harness.Eventually(t, time.Minute, logged(p.Process, "the new process has not taken over: this one goes on"))
	harness.Eventually(t, time.Minute, logged(p.Process, "everything is taken back"))
	if !strings.Contains(p.Log(), "gossip.address") {
		t.Error("the proxy that goes on does not say why")
	}
	p.WaitReady()
	l.goesOn(t)
}

// countSessions returns how many sessions the proxy knows.
func countSessions(t *testing.T, p *harness.Proxy) (n int64) {
	t.Helper()
	var list []api.SessionCount
	p.JSON(&list, "sessions", "--json")
	for _, s := range list {
		n += s.Sessions
	}
	return n
}
