package tests

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// TestCtrlCProxy: who presses Ctrl-C once lets running requests finish, and who presses it again has them
// cut. Either way the next start serves the same sessions.
func TestCtrlCProxy(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	settled(t, p, "node", 1)
	v := harness.NewVisitor(t, p.HTTP, "node.test")
	v.Get("/")
	p.Stop()

	keys := p.RestartOnTerminal()
	p.WaitReady()
	release := holdRequest(t, p.HTTP)
	fmt.Fprint(keys, "\x03")
	harness.Eventually(t, time.Minute, logged(p.Process, "a second Ctrl-C cuts them"))
	if !p.Running() {
		t.Error("the proxy has ended though a request still runs")
	}
	release()
	if code := p.Wait(time.Minute); code != 0 {
		t.Errorf("after one Ctrl-C the proxy ended with %d", code)
	}

	keys = p.RestartOnTerminal()
	p.WaitReady()
	if got := v.Get("/"); got.Views != 2 {
		t.Errorf("the visitor has %+v", got)
	}
	defer holdRequest(t, p.HTTP)()
	before := len(p.Log())
	fmt.Fprint(keys, "\x03")
	harness.Eventually(t, time.Minute, func() error {
		if !strings.Contains(p.Log()[before:], "a second Ctrl-C cuts them") {
			return errf("it does not stop")
		}
		return nil
	})
	began := time.Now()
	fmt.Fprint(keys, "\x03")
	if code := p.Wait(time.Minute); code != 0 {
		t.Errorf("after two Ctrl-C the proxy ended with %d:\n%s", code, p.Log()[before:])
	}
	harness.Eventually(t, time.Minute, logged(p.Process, "Ctrl-C was pressed again")) // a terminal shows it a little later
	if took := time.Since(began); took > 20*time.Second {                             // less than the drain limit
		t.Errorf("a second Ctrl-C took %s", took)
	}
	p.Restart()
	p.WaitReady()
	if got := v.Get("/"); got.Views != 3 {
		t.Errorf("the visitor has %+v", got)
	}
}

// proxySignals does to a proxy what systemd does: SIGHUP, SIGKILL, SIGTERM and SIGKILL after the limit. It has
// the listening sockets meanwhile, so that who comes waits for the next process; no session is lost.
func proxySignals(t *testing.T, front *harness.Machine, v *harness.Visitor) {
	t.Helper()
	const unit = "portico-proxy"
	views := v.Get("/").Views
	stays := func(when string) {
		t.Helper()
		views++
		if got, err := v.Try("/"); err != nil || got.Views != views {
			t.Errorf("%s the visitor has %+v (%v), want view %d", when, got, err, views)
		}
	}
	main := func() string { return front.Must("systemctl", "show", "-P", "MainPID", unit) }

	before := main()
	front.Must("sh", "-c", `printf '[log]\nlevel = "debug"\n' >>/etc/portico/portico.toml`)
	front.Must("systemctl", "reload", unit)
	front.Must("sh", "-c", `journalctl -u portico-proxy -o cat | grep -q "configuration reloaded"`)
	if now := main(); now != before {
		t.Errorf("a reload replaced process %s with %s", before, now)
	}
	stays("after a reload")

	front.Must("systemctl", "kill", "--kill-whom=main", "--signal=SIGKILL", unit)
	stays("while a killed proxy is started again")
	newMain(t, front, unit, before)

	before = main()
	release := holdThrough(t, front)
	front.Must("systemctl", "restart", "--no-block", unit)
	harness.Eventually(t, time.Minute, func() error {
		if state := front.Must("systemctl", "show", "-P", "ActiveState", unit); state != "deactivating" {
			return fmt.Errorf("the unit is %s", state)
		}
		return nil
	})
	time.AfterFunc(time.Second, release) // while the visitor waits
	stays("while a restart waits for a request")
	newMain(t, front, unit, before)

	before = main()
	front.Put("/etc/systemd/system/portico-proxy.service.d/limit.conf", "[Service]\nTimeoutStopSec=1s\n")
	front.Must("systemctl", "daemon-reload")
	defer holdThrough(t, front)()
	front.Must("systemctl", "restart", unit)
	front.Must("sh", "-c", `journalctl -o cat | grep -q "timed out. Killing"`)
	stays("after a stop that took too long")
	newMain(t, front, unit, before)
	front.Must("rm", "/etc/systemd/system/portico-proxy.service.d/limit.conf")
	front.Must("systemctl", "daemon-reload")
}

// holdThrough is holdRequest by way of the machine's own network.
func holdThrough(t *testing.T, front *harness.Machine) (release func()) {
	t.Helper()
	addr := net.JoinHostPort(front.IP, "80")
	c, err := front.DialTo(addr)(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return holdOn(t, c)
}
