package tests

import (
	"net"
	"strings"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/tests/harness"
)

// A server that was revoked serves again like a new one, without a visit to it: when an operator
// accepts it after all, and when its name was forgotten and it knocks anew. Its agent runs all the time
// in the first case, and is started again in the second.
func TestRevokedServerServesAgain(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	a := p.AddServer("server-1")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	settled(t, p, "node", 1)
	serves := func() {
		t.Helper()
		settled(t, p, "node", 1)
		if _, _, err := visitOK(harness.NewVisitor(t, p.HTTP, "node.test"), "/"); err != nil {
			t.Error(err)
		}
	}

	p.Must("revoke", "server-1", "--yes", "--reason", "a mistake")
	harness.Eventually(t, 30*time.Second, logged(a.Process, "refused, knocking again"))
	if left := harness.SiteProcesses(a.Dir); len(left) != 0 {
		t.Errorf("a revoked server still runs %v", left)
	}
	harness.Eventually(t, time.Minute, func() error { // what it asks for has to be there
		if r := p.CLI("accept", "server-1"); r.Code != 0 {
			return errf("accept: %s", r.Stderr)
		}
		return nil
	})
	serves()

	p.Must("revoke", "server-1", "--yes")
	harness.Eventually(t, time.Minute, func() error {
		if n := strings.Count(a.Log(), "refused, knocking again"); n < 2 {
			return errf("the agent was told %d times", n)
		}
		return nil
	})
	endAgent(t, a)
	p.Must("members", "forget", "server-1")
	a.Restart()
	p.WaitMember("server-1", catalog.Pending)
	p.Must("accept", "server-1")
	serves()
}

// accept compares the key for the operator, with what the machine prints or what the list shows.
func TestAcceptComparesTheKey(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t)
	a := p.StartAgent("server-1")
	p.WaitMember("server-1", catalog.Pending)
	key := p.Members()[memberAt(p, "server-1")].Fingerprint
	harness.Eventually(t, time.Minute, logged(a.Process, "portico accept server-1 --fingerprint "+key))

	wrong := strings.Map(func(r rune) rune {
		if r == '0' {
			return '1'
		}
		return '0'
	}, key)
	for given, code := range map[string]int{wrong: 1, key[:15]: 1, key[:16] + "z": 1} {
		if r := p.CLI("accept", "server-1", "--fingerprint", given); r.Code != code || !strings.Contains(r.Stderr, given[:15]) {
			t.Errorf("accept --fingerprint %s: exit %d: %s", given, r.Code, r.Stderr)
		}
	}
	if m := p.Members()[memberAt(p, "server-1")]; m.Admission != catalog.Pending {
		t.Errorf("a machine with another key is %s", m.Admission)
	}
	shown := p.Must("members")
	if !strings.Contains(shown, key[:16]) || strings.Contains(shown, key[:17]) {
		t.Errorf("members shows something else than %s:\n%s", key[:16], shown)
	}
	p.Must("accept", "server-1", "--fingerprint", key[:16])
	p.WaitMember("server-1", catalog.Accepted)
}

func memberAt(p *harness.Proxy, name string) int {
	for i, m := range p.Members() {
		if m.Name == name {
			return i
		}
	}
	return 0
}

// invite prints the address at which members reach the proxy, though the command itself goes by loopback.
func TestInviteNamesTheProxy(t *testing.T) {
	t.Parallel()
	admin := harness.Addr(t)
	_, port, err := net.SplitHostPort(admin)
	if err != nil {
		t.Fatal(err)
	}
	p := harness.StartProxyIn(t, harness.TempDir(t), "proxy-1", "--admin", ":"+port)
	out := p.Must("invite")
	var self string
	for _, m := range p.Members() {
		if m.Name == "proxy-1" {
			self = m.Addr
		}
	}
	if here := p.ClientFile().Addr; self == here {
		t.Skipf("this machine has no address but loopback, %s", here)
	}
	if !strings.Contains(out, "--join "+self+" ") || strings.Contains(out, "127.0.0.1") {
		t.Errorf("the proxy is reached at %s, and invite says\n%s", self, out)
	}
}
