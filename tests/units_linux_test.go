package tests

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// TestUnits: the example units under a real systemd, on a machine each. The proxy
// serves at ports 80 and 443 as an ordinary user, and is upgraded by SIGUSR2. The agent
// runs sites as users of their own, and they outlive its death.
func TestUnits(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	network := harness.NewNet(t)
	front, server := harness.Boot(t, network.Host("front")), harness.Boot(t, network.Host("server-1"))
	bootProxy(t, front)
	bootAgent(t, front, server)
	front.PutTree("/tmp/node", harness.App("node"))
	portico(front, "deploy", "node", "/tmp/node", "--host", "node.test")
	v := harness.NewVisitor(t, net.JoinHostPort(front.IP, "80"), "node.test")
	v.Client.Transport.(*http.Transport).DialContext = front.DialTo(net.JoinHostPort(front.IP, "80"))
	if got := v.Get("/"); got.Views != 1 {
		t.Fatalf("the site says %+v", got)
	}

	main := server.Must("systemctl", "show", "-P", "MainPID", "portico-agent")
	site := server.Must("pgrep", "-x", "node")
	uid := server.Must("stat", "-c", "%u", "/proc/"+site)
	if uid == "0" {
		t.Error("the site runs as root")
	}
	server.Must("systemctl", "kill", "--kill-whom=main", "--signal=SIGKILL", "portico-agent")
	newMain(t, server, "portico-agent", main)
	if again := server.Must("pgrep", "-u", uid); again != site {
		t.Errorf("the site's process was %s and is %s", site, again)
	}
	harness.Eventually(t, time.Minute, func() error { // the agent is away for as long as systemd and this machine take
		got, err := v.Try("/")
		if err == nil && got.Views != 2 {
			t.Errorf("after the agent's death the visitor has %+v", got)
		}
		return err
	})

	if _, err := server.Try("nsenter", "--target", site, "--mount", "touch", "/tmp/probe"); err != nil {
		t.Errorf("the site's temporary folder after that: %v", err)
	}

	main = front.Must("systemctl", "show", "-P", "MainPID", "portico-proxy")
	front.Must("systemctl", "kill", "--kill-whom=main", "--signal=SIGUSR2", "portico-proxy")
	newMain(t, front, "portico-proxy", main)
	if got := v.Get("/"); got.Views != 3 {
		t.Errorf("after the proxy's upgrade the visitor has %+v", got)
	}

	server.Must("systemctl", "restart", "portico-agent")
	if got := v.Get("/"); got.Views != 4 {
		t.Errorf("after the agent's restart the visitor has %+v", got)
	}
	proxySignals(t, front, v)
	server.Must("systemctl", "start", "portico-sites")
	server.Must("systemctl", "stop", "portico-sites") // as when the machine is shut down
	if out, err := server.Try("pgrep", "-u", uid); err == nil {
		t.Errorf("when the machine was shut down the site ran on: %s", out)
	}
	server.Must("systemctl", "start", "portico-agent")
	harness.Eventually(t, time.Minute, func() error { _, err := v.Try("/"); return err })
	portico(front, "remove", "node", "--yes")
	harness.Eventually(t, time.Minute, func() error {
		if out, err := server.Try("pgrep", "-u", uid); err == nil {
			return fmt.Errorf("the removed site runs on: %s", out)
		}
		return nil
	})
	server.Must("systemctl", "stop", "portico-agent")
	front.Must("systemctl", "stop", "portico-proxy")
	endedWell(t, server, "portico-agent")
	endedWell(t, server, "portico-sites")
	endedWell(t, front, "portico-proxy")
}

func endedWell(t *testing.T, m *harness.Machine, unit string) {
	t.Helper()
	if state := m.Must("systemctl", "show", "-P", "Result", unit); state != "success" {
		t.Errorf("%s ended with %s", unit, state)
	}
}

// newMain waits until a unit has another main process than that one, and is ready.
func newMain(t *testing.T, m *harness.Machine, unit, old string) {
	t.Helper()
	harness.Eventually(t, time.Minute, func() error {
		now, state := m.Must("systemctl", "show", "-P", "MainPID", unit), m.Must("systemctl", "show", "-P", "ActiveState", unit)
		if now == old || now == "0" || state != "active" {
			return fmt.Errorf("the main process is %s, it was %s, and the unit is %s", now, old, state)
		}
		return nil
	})
}

// bootProxy starts the proxy's unit on a machine.
func bootProxy(t *testing.T, m *harness.Machine) {
	t.Helper()
	m.Must("useradd", "--system", "--user-group", "--no-create-home", "portico")
	m.Put("/etc/portico/portico.toml", fmt.Sprintf(`[proxy]
name = "proxy-1"
http = "%[1]s:80"
https = "%[1]s:443"
[admin]
address = "%[1]s:7443"
[gossip]
address = "%[1]s:7946"
[tls]
acme = ""
`, m.IP))
	startUnit(t, m, "portico-proxy")
}

// bootAgent starts the agent's unit on a machine and has the proxy accept it.
func bootAgent(t *testing.T, front, m *harness.Machine) {
	t.Helper()
	var client harness.ClientFile
	if err := json.Unmarshal([]byte(front.Must("cat", "/var/lib/portico/client.json")), &client); err != nil {
		t.Fatal(err)
	}
	m.Put("/etc/portico/invite", portico(front, "invite", "--quiet"))
	m.Put("/etc/portico/portico.toml", fmt.Sprintf(`[agent]
name = "server-1"
address = "%[1]s:7444"
join = ["%[2]s:7443"]
fingerprint = "%[3]s"
invite_file = "/etc/portico/invite"
[gossip]
address = "%[1]s:7946"
`, m.IP, front.IP, client.Fingerprint))
	startUnit(t, m, "portico-agent")
	harness.Eventually(t, time.Minute, func() error {
		if list := portico(front, "members"); strings.Count(list, " ready ") != 2 {
			return fmt.Errorf("the members are\n%s", list)
		}
		return nil
	})
}

func startUnit(t *testing.T, m *harness.Machine, unit string) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := m.Try("sh", "-c", `systemctl status --no-pager "$1"; journalctl --no-pager -o cat -n 100`, "log", unit)
			t.Logf("--- journal of %s ---\n%s", unit, log)
		}
	})
	m.Must("systemctl", "start", unit)
}

// portico runs a client command on the proxy's machine.
func portico(m *harness.Machine, args ...string) string {
	return m.Must(append([]string{"/usr/local/bin/portico"}, args...)...)
}
