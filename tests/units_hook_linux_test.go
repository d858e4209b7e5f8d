package tests

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// The foreign server's own unit: nothing of it is the agent's.
const foreignUnit = `[Service]
User=nobody
Environment=PORT=9000 PORTICO_MEMBER=foreign
ExecStart=/usr/bin/env node /srv/foreign/server.js
`

// TestUnitsKeepHookSites: the agent's unit is killed, restarted, stopped and started, and its program replaced, beside a
// server that is not the agent's and has its sessions in memory. No session ends, and none of the site's commands is run
// once more: a web server that is told to take the release again may forget its visitors.
func TestUnitsKeepHookSites(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	network := harness.NewNet(t)
	front, server := harness.Boot(t, network.Host("front")), harness.Boot(t, network.Host("server-1"))
	bootProxy(t, front)
	bootAgent(t, front, server)
	server.PutTree("/srv/foreign", harness.App("node"))
	server.Put("/etc/systemd/system/foreign.service", foreignUnit)
	server.Must("systemctl", "daemon-reload")
	startUnit(t, server, "foreign")
	server.Must("install", "-m", "666", "/dev/null", "/tmp/hooks")
	front.Put("/tmp/hook/portico.toml", `kind = "hook"
[health]
path = "/healthz"
[hook]
install = ["sh", "-c", "echo install >>/tmp/hooks"]
activate = ["sh", "-c", "echo activate >>/tmp/hooks"]
port = 9000
`)
	portico(front, "deploy", "foreign", "/tmp/hook", "--host", "foreign.test")
	hooks := server.Must("cat", "/tmp/hooks")
	if hooks != "install\nactivate" {
		t.Errorf("the deploy has run %q", hooks)
	}

	v := harness.NewVisitor(t, net.JoinHostPort(front.IP, "80"), "foreign.test")
	v.Client.Transport.(*http.Transport).DialContext = front.DialTo(net.JoinHostPort(front.IP, "80"))
	views := v.Get("/").Views
	goesOn := func(what string) {
		t.Helper()
		views++
		harness.Eventually(t, time.Minute, func() error {
			got, err := v.Try("/")
			if err == nil && (got.Views != views || got.Lost != "") {
				t.Fatalf("after %s the visitor has %+v, want %d views", what, got, views)
			}
			return err
		})
		if now := server.Must("cat", "/tmp/hooks"); now != hooks {
			t.Errorf("after %s the commands run were %q", what, now)
		}
	}
	front.PutTree("/tmp/node", harness.App("node"))
	portico(front, "deploy", "node", "/tmp/node", "--host", "node.test")
	goesOn("the deploy")
	for what, do := range map[string]func(){
		"a crash": func() {
			main := server.Must("systemctl", "show", "-P", "MainPID", "portico-agent")
			server.Must("systemctl", "kill", "--kill-whom=main", "--signal=SIGKILL", "portico-agent")
			newMain(t, server, "portico-agent", main)
		},
		"a restart": func() { server.Must("systemctl", "restart", "portico-agent") },
		"a stop": func() {
			server.Must("systemctl", "stop", "portico-agent")
			server.Must("systemctl", "start", "portico-agent")
		},
		"an upgrade": func() {
			server.Must("sh", "-c", "cp /usr/local/bin/portico /tmp/portico && install /tmp/portico /usr/local/bin/portico")
			server.Must("systemctl", "restart", "portico-agent")
		},
	} {
		do()
		goesOn(what)
	}
	uninstall(t, front, server)
	if state := strings.TrimSpace(server.Must("systemctl", "is-active", "foreign")); state != "active" {
		t.Errorf("when the agent was uninstalled the foreign server became %s", state)
	}
}

// uninstall takes an application server away as operations.md says it is done. Nothing of portico is left then but its
// folder and the program.
func uninstall(t *testing.T, front, server *harness.Machine) {
	t.Helper()
	if out, err := front.Try("/usr/local/bin/portico", "drain", "server-1", "--wait", "2m", "--deadline", "1s"); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("the drain whose deadline cut a session ends with %v:\n%s", err, out)
	}
	server.Must("systemctl", "disable", "--now", "portico-agent")
	endedWell(t, server, "portico-agent")
	site := server.Must("pgrep", "-n", "-f", "node server.js")
	portico(server, "agent", "stop", "--sites")
	portico(front, "revoke", "server-1", "--yes")
	if _, err := server.Try("kill", "-0", site); err == nil {
		t.Error("a site runs on")
	}
	if out, err := server.Try("pgrep", "-x", "portico"); err == nil {
		t.Errorf("portico runs on: %s", out)
	}
	server.Must("rm", "-r", "/var/lib/portico", "/usr/local/bin/portico")
	if list := portico(front, "members"); !strings.Contains(list, "revoked") {
		t.Errorf("the members are\n%s", list)
	}
}
