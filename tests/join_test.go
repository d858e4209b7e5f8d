package tests

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/proxy/admin"
	"portico/tests/harness"
)

// A machine that nobody accepted is on show and gets nothing.
func TestMachineWaitsForAcceptance(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t)
	p.Must("deploy", "shop", harness.App("static"), "--host", "shop.test", "--detach")
	a := p.StartAgent("server-1")
	p.WaitMember("server-1", catalog.Pending)

	m := p.Members()
	var pending admin.MemberInfo
	for _, each := range m {
		if each.Name == "server-1" {
			pending = each
		}
	}
	if pending.Addr == "" || pending.Version == "" || len(pending.Fingerprint) < 32 {
		t.Errorf("a pending machine shows too little: %+v", pending)
	}
	if !strings.Contains(a.Log(), pending.Fingerprint[:16]) {
		t.Errorf("the agent does not print the key fingerprint that operators compare:\n%s", a.Log())
	}
	if _, err := tls.Dial("tcp", a.Addr, &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("a machine that is not accepted already listens for proxies")
	}
	for _, path := range []string{"/v1/agent/wanted", "/v1/agent/keys", "/v1/objects/" + strings.Repeat("a", 64), "/v1/members", "/metrics"} {
		if code := anonymous(t, p.Admin, path); code != http.StatusUnauthorized && code != http.StatusForbidden {
			t.Errorf("%s answers %d to a stranger", path, code)
		}
	}

	p.Must("accept", "server-1")
	p.WaitMember("server-1", catalog.Accepted)
	v := harness.NewVisitor(t, p.HTTP, "shop.test")
	harness.Eventually(t, time.Minute, func() error {
		_, _, err := visitOK(v, "/")
		return err
	})
}

func TestRefusedMachineIsTold(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t)
	a := p.StartAgent("server-1")
	p.WaitMember("server-1", catalog.Pending)
	p.Must("refuse", "server-1", "--reason", "unknown machine")
	harness.Eventually(t, time.Minute, logged(a.Process, "unknown machine"))
	if !strings.Contains(a.Log(), "portico accept server-1") || !a.Running() {
		t.Errorf("a refused machine does not say what helps, or has ended:\n%s", a.Log())
	}
	// Somebody changes her mind: nobody has to go to the machine for that.
	p.Must("accept", "server-1")
	harness.Eventually(t, time.Minute, logged(a.Process, "agent is ready"))
}

func TestInviteAcceptsOnce(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t)
	code := strings.TrimSpace(p.Must("invite", "--quiet"))
	first := p.StartAgent("server-1", "--code", code)
	p.WaitMember("server-1", catalog.Accepted)
	second := p.StartAgent("server-2", "--code", code)
	harness.Eventually(t, time.Minute, logged(second.Process, "code"))
	for _, m := range p.Members() {
		if m.Name == "server-2" && m.Admission == catalog.Accepted {
			t.Error("one code accepted two machines")
		}
	}
	if !first.Running() {
		t.Error("the first machine ended")
	}

	expired := strings.TrimSpace(p.Must("invite", "--quiet", "--expires", "1s"))
	<-time.After(1500 * time.Millisecond)
	third := p.StartAgent("server-3", "--code", expired)
	harness.Eventually(t, time.Minute, logged(third.Process, "expired"))
}

// The same name with another key is another machine.
func TestNameBelongsToItsKey(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	impostor := p.StartAgent("server-1")
	harness.Eventually(t, time.Minute, logged(impostor.Process, "another key"))
}

func TestRevokeCutsAtOnce(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t)
	p.Must("deploy", "shop", harness.App("static"), "--host", "shop.test", "--detach")
	a := p.AddServer("server-1")
	v := harness.NewVisitor(t, p.HTTP, "shop.test")
	harness.Eventually(t, time.Minute, func() error { _, _, err := visitOK(v, "/"); return err })
	p.Must("revoke", "server-1", "--yes")
	harness.Eventually(t, time.Minute, func() error {
		if resp, _, err := v.Do(http.MethodGet, "/", nil); err != nil || resp.StatusCode != http.StatusServiceUnavailable {
			return errf("the site still answers: %v %v", resp, err)
		}
		return nil
	})
	harness.Eventually(t, time.Minute, logged(a.Process, "revoked"))
}

func anonymous(t *testing.T, addr, path string) int {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	resp, err := client.Get("https://" + addr + path)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
