package tests

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portico/proxy/admin/api"
	"portico/tests/harness"
)

// One team's deployer, with a token of his own, tries at the built binary what would lead
// another team's visitors or secrets to him: a path of its host, a name under its wildcard, a
// name of the admin page, its environment, a token that outlives his. Operators say otherwise by name.
func TestTeamsOnOneProxy(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t, "--set", "admin.hosts=admin.team.test")
	p.AddServer("server-1")
	dir := t.TempDir()
	file := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file("index.html", "a page")
	file("portico.toml", "[env]\nPASSWORD = \"archive-secret\"\n")
	p.Must("deploy", "alice", dir, "--host", "a.team.test", "--host", "*.alice.test")
	p.Must("account", "add", "mallory", "--role", "deployer", "--site", "mallory", "--site", "alice-too")
	var token api.TokenAnswer
	p.JSON(&token, "token", "add", "--account", "mallory", "--expires", "1h", "--json")
	mallory := func(args ...string) harness.Result {
		t.Helper()
		tokenFile := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(tokenFile, []byte(token.Token), 0o600); err != nil {
			t.Fatal(err)
		}
		home := "XDG_CONFIG_HOME=" + t.TempDir()
		if r := harness.Run(t, []string{home}, "login", p.Admin, "--fingerprint", p.Fingerprint(), "--token-file", tokenFile); r.Code != 0 {
			t.Fatalf("login: %s%s", r.Stdout, r.Stderr)
		}
		return harness.Run(t, []string{home}, args...)
	}
	for host, want := range map[string]string{
		"a.team.test --path /login": "portico hosts share 'a.team.test' mallory",
		"www.alice.test":            "portico hosts share 'www.alice.test' mallory",
		"admin.team.test":           "admin page",
	} {
		r := mallory(append([]string{"deploy", "mallory", dir, "--yes", "--host"}, strings.Fields(host)...)...)
		if r.Code == 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("deploy on %s: exit %d, %s%s", host, r.Code, r.Stdout, r.Stderr)
		}
	}
	p.Must("hosts", "share", "www.alice.test", "mallory")
	if r := mallory("deploy", "mallory", dir, "--yes", "--host", "www.alice.test", "--host", "m.test"); r.Code != 0 {
		t.Errorf("with an operator's word: %s%s", r.Stdout, r.Stderr)
	}
	if out := p.Must("hosts"); !strings.Contains(out, "by local, beside local") || !strings.Contains(out, "admin page of proxy-1") {
		t.Errorf("portico hosts prints\n%s", out)
	}

	p.Must("sites", "set", "mallory", "env.KEY=operator-secret")
	show := mallory("sites", "show", "mallory")
	if show.Code != 0 || strings.Contains(show.Stdout, "-secret") || !strings.Contains(show.Stdout, "(hidden)") {
		t.Errorf("a deployer reads\n%s%s", show.Stdout, show.Stderr)
	}
	if out := p.Must("sites", "show", "mallory"); !strings.Contains(out, "operator-secret") || !strings.Contains(out, "archive-secret") {
		t.Errorf("the administrator reads\n%s", out)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	p.Must("backup", "--out", backup)
	data, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	if said := p.Must("audit", "--json") + p.Log() + p.Must("sites", "--json"); bytes.Contains(data, []byte("-secret")) || strings.Contains(said, "-secret") {
		t.Error("a backup, the audit, the log or the list of sites tells a value")
	}

	if r := mallory("token", "add", "--expires", "2h"); r.Code != 3 || !strings.Contains(r.Stderr, "may last longer") {
		t.Errorf("a token of an hour asks for two: exit %d, %s", r.Code, r.Stderr)
	}
	p.Stop()
	p.Restart() // the local administrator gets a new token, and what the old one made goes on
	p.WaitReady()
	if r := mallory("sites"); r.Code != 0 {
		t.Errorf("after a restart of the proxy: %s", r.Stderr)
	}
	p.Must("token", "remove", token.ID)
}
