package tests

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// TestDebiansHAProxyUnit: docs/haproxy.md, done on a machine with Debian's HAProxy and its unit. The export is written, the
// unit pointed at it and restarted, by the document's own lines; from then on what changes comes by a reload, which
// cuts nobody's session. HAProxy runs as its own account, in its chroot, with its runtime socket.
func TestDebiansHAProxyUnit(t *testing.T) {
	t.Parallel()
	harness.Need(t, "haproxy")
	harness.Need(t, "/lib/systemd/system/haproxy.service")
	harness.Need(t, "node")
	network := harness.NewNet(t)
	front, server, edge := harness.Boot(t, network.Host("front")), harness.Boot(t, network.Host("server-1")), harness.Boot(t, network.Host("edge"))
	bootProxy(t, front)
	bootAgent(t, front, server)
	front.PutTree("/tmp/node", harness.App("node"))
	portico(front, "deploy", "node", "/tmp/node", "--host", "node.test")

	var client harness.ClientFile
	decode(t, front.Must("cat", "/var/lib/portico/client.json"), &client)
	edge.Put("/etc/portico/haproxy.env", fmt.Sprintf("PORTICO_ADDR=%s:7443\nPORTICO_FINGERPRINT=%s\nPORTICO_TOKEN=%s\n",
		front.IP, client.Fingerprint, strings.TrimSpace(portico(front, "token", "add", "--label", "haproxy"))))
	lines := documentedLines(t)
	for _, line := range []string{"portico export haproxy --out /etc/haproxy/portico", `echo 'CONFIG="/etc/haproxy/portico/haproxy.cfg"' >> /etc/default/haproxy`, "systemctl restart haproxy"} {
		if !lines[line] {
			t.Errorf("docs/haproxy.md does not say %q", line)
		}
		edge.Must("sh", "-c", "set -a; . /etc/portico/haproxy.env; "+line)
	}
	startUnit(t, edge, "haproxy") // it runs: this is for its journal
	v := harness.NewVisitor(t, net.JoinHostPort(edge.IP, "80"), "node.test")
	v.Client.Transport.(*http.Transport).DialContext = edge.DialTo(net.JoinHostPort(edge.IP, "80"))
	harness.Eventually(t, time.Minute, func() error { _, err := v.Try("/"); return err })
	seen := v.Get("/")

	worker := workerOf(t, edge)
	if who := edge.Must("stat", "-c", "%U", "/proc/"+worker); who != "haproxy" {
		t.Errorf("HAProxy serves as %s", who)
	}
	if root := edge.Must("readlink", "/proc/"+worker+"/root"); root != "/var/lib/haproxy" {
		t.Errorf("HAProxy serves from %s", root)
	}
	if mode := edge.Must("stat", "-c", "%U %a", "/run/haproxy/admin.sock"); mode != "root 660" {
		t.Errorf("the runtime socket has %s", mode)
	}
	if mode := edge.Must("stat", "-c", "%U %a", "/etc/haproxy/portico/client.key"); mode != "root 600" {
		t.Errorf("the key has %s", mode)
	}
	harness.Eventually(t, time.Minute, func() error { // the log goes to the journal
		if log := edge.Must("journalctl", "-u", "haproxy", "--no-pager", "-o", "cat"); !strings.Contains(log, " node/") {
			return fmt.Errorf("the journal has no request:\n%s", log)
		}
		return nil
	})

	main := edge.Must("systemctl", "show", "-P", "MainPID", "haproxy")
	startUnit(t, edge, "portico-haproxy")
	portico(front, "deploy", "second", "/tmp/node", "--host", "second.test")
	second := harness.NewVisitor(t, net.JoinHostPort(edge.IP, "80"), "second.test")
	second.Client.Transport.(*http.Transport).DialContext = edge.DialTo(net.JoinHostPort(edge.IP, "80"))
	harness.Eventually(t, time.Minute, func() error { _, err := second.Try("/"); return err })
	if now := workerOf(t, edge); now == worker {
		t.Error("the new site came without a reload")
	}
	if now := edge.Must("systemctl", "show", "-P", "MainPID", "haproxy"); now != main {
		t.Errorf("the reload was a restart: the main process was %s and is %s", main, now)
	}
	if got := v.Get("/"); got.Server != seen.Server || got.Views != seen.Views+1 {
		t.Errorf("after the reload the visitor has %+v, before %+v", got, seen)
	}

	portico(front, "revoke", "haproxy", "--yes")
	harness.Eventually(t, time.Minute, func() error {
		if got, err := v.Try("/"); err == nil {
			return fmt.Errorf("the revoked HAProxy is answered %+v", got)
		}
		return nil
	})
	edge.Must("systemctl", "restart", "portico-haproxy") // which asks for a certificate
	harness.Eventually(t, time.Minute, func() error {
		if log := edge.Must("journalctl", "-u", "portico-haproxy", "--no-pager", "-o", "cat"); !strings.Contains(log, "portico members forget haproxy") {
			return fmt.Errorf("the journal of the export does not say how to go on:\n%s", log)
		}
		return nil
	})
	if list := portico(front, "members"); !strings.Contains(list, "revoked") {
		t.Errorf("the export took the revocation back:\n%s", list)
	}
	portico(front, "members", "forget", "haproxy")
	harness.Eventually(t, time.Minute, func() error { _, err := v.Try("/"); return err })
	edge.Must("systemctl", "stop", "portico-haproxy", "haproxy")
	endedWell(t, edge, "portico-haproxy")
	endedWell(t, edge, "haproxy")
}

// workerOf is the newest process that serves for HAProxy's unit.
func workerOf(t *testing.T, m *harness.Machine) string {
	t.Helper()
	main := m.Must("systemctl", "show", "-P", "MainPID", "haproxy")
	return m.Must("pgrep", "--newest", "-P", main, "haproxy")
}

// documentedLines are the commands of docs/haproxy.md, without the words behind them.
func documentedLines(t *testing.T) map[string]bool {
	t.Helper()
	lines := map[string]bool{}
	for _, block := range blocksOf(t, filepath.Join(harness.Root(), "docs", "haproxy.md")) {
		for _, l := range commandsOf(block) {
			lines[l.command] = true
		}
	}
	return lines
}
