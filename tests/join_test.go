package tests

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/proxy/admin/api"
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
	var pending api.MemberInfo
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

// What somebody starts by mistake on a folder that is another's is refused before the cluster hears of it: a
// second agent on a running one's, an agent on a proxy's, a proxy on an agent's, an agent under another name. The members
// keep the addresses at which they are.
func TestForeignFolderIsRefused(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t)
	a := p.AddServer("server-1")
	harness.Eventually(t, time.Minute, logged(a.Process, "agent is ready"))
	agent := func(dir, name string) []string {
		return []string{"agent", "--dir", dir, "--name", name, "--listen", harness.Addr(t), "--gossip", harness.Addr(t),
			"--join", p.Admin, "--fingerprint", p.Fingerprint()}
	}
	front := []string{"proxy", "--dir", a.Dir, "--http", harness.Addr(t), "--https", harness.Addr(t), "--admin", harness.Addr(t), "--catalog", harness.Addr(t), "--gossip", harness.Addr(t)}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{agent(a.Dir, "server-1"), 1, "another agent is running in this directory"},
		{agent(a.Dir, "server-9"), 2, `is the folder of member "server-1"`},
		{agent(p.Dir, "server-9"), 2, `is the folder of proxy "proxy-1"`},
		{front, 2, `is the folder of server "server-1"`},
	} {
		r := harness.Run(t, nil, c.args...)
		if r.Code != c.code || !strings.Contains(r.Stderr, c.want) || !strings.Contains(r.Stderr, "another --dir") {
			t.Errorf("portico %v: exit code %d, want %d and %q\n%s", c.args, r.Code, c.code, c.want, r.Stderr)
		}
	}
	for _, m := range p.Members() {
		if want := map[string]string{"proxy-1": p.Admin, "server-1": a.Addr}[m.Name]; m.Addr != want {
			t.Errorf("%s is at %s now, it was at %s", m.Name, m.Addr, want)
		}
	}
	stranger := append(agent(harness.TempDir(t), "server-2")[:9:9], "--fingerprint", "sha256:"+strings.Repeat("0", 64))
	if r := harness.Run(t, nil, agent(harness.TempDir(t), "server-2")[:9]...); r.Code != 2 || !strings.Contains(r.Stderr, "no proxy is named") {
		t.Errorf("without a proxy: %d %s", r.Code, r.Stderr)
	}
	wrong := harness.Start(t, "wrong", nil, append(stranger, "--join", p.Admin)...)
	harness.Eventually(t, time.Minute, logged(wrong, "not the proxy that was named: give --fingerprint"))
}
