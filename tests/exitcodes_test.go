package tests

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/proxy/admin/api"
	"portico/tests/harness"
)

// TestExitCodes is the table of the commands' exit codes: 0 done, 1 failed, 2
// wrong usage, 3 refused, 4 timed out.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	site, broken, wrong, unfit := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	write(t, site, "index.html", "hello\n")
	write(t, broken, "portico.toml", `run = ["sh", "-c", "exit 3"]`)
	write(t, unfit, "index.html", "hello\n")
	write(t, unfit, "portico.toml", "[health]\npath = \"healthz\"\n")
	write(t, wrong, "portico.toml", "[proxy]\nhtpp = \":80\"\n")
	p.Must("deploy", "hello", site, "--host", "hello.test")
	harness.NewVisitor(t, p.HTTP, "hello.test").Do("GET", "/", nil)
	p.Must("account", "add", "val", "--role", "viewer")
	var token api.TokenAnswer
	p.JSON(&token, "token", "add", "--account", "val", "--json")
	viewer := []string{"PORTICO_ADDR=" + p.Admin, "PORTICO_FINGERPRINT=" + p.Fingerprint(), "PORTICO_TOKEN=" + token.Token}
	operator := []string{"PORTICO_DIR=" + p.Dir}
	nobody := append(viewer[:2:2], "PORTICO_TOKEN=wrong")
	for _, c := range []struct {
		code int
		env  []string
		args []string
	}{
		{0, operator, []string{"members"}},
		{0, viewer, []string{"sites", "--json"}},
		{0, operator, []string{"deploy", "hello", site, "--dry-run"}},
		{0, operator, []string{"remove", "hello", "--dry-run", "--json"}},
		{0, operator, []string{"check"}},
		{0, operator, []string{"version"}},
		{1, operator, []string{"deploy", "bad", broken, "--host", "bad.test"}},
		{1, operator, []string{"releases", "nosuch"}},
		{1, operator, []string{"accept", "nosuch"}},
		{1, operator, []string{"deploys", "cancel", "hello"}},
		{1, operator, []string{"rollback", "hello"}}, // there is none before
		{2, operator, []string{"deploy", "hello", filepath.Join(site, "nosuch")}},
		{2, operator, []string{"deploy", "hello", unfit}},
		{2, operator, []string{"deploy", "hello", wrong}},
		{2, operator, []string{"nosuch"}},
		{2, operator, []string{"members", "--nosuch"}},
		{2, operator, []string{"rollback"}},
		{2, operator, []string{"logs", "hello", "--tail", "0"}},
		{2, operator, []string{"remove", "hello"}}, // nobody is there to be asked
		{2, operator, []string{"check", filepath.Join(wrong, "portico.toml")}},
		{2, nil, []string{"members"}}, // no cluster is known
		{3, viewer, []string{"drain", "server-1"}},
		{3, viewer, []string{"keys"}},
		{3, nobody, []string{"members"}},
	} {
		if r := harness.Run(t, c.env, c.args...); r.Code != c.code {
			t.Errorf("portico %v: exit code %d, want %d\n%s%s", c.args, r.Code, c.code, r.Stdout, r.Stderr)
		} else if c.code == 0 && c.args[len(c.args)-1] == "--json" && !json.Valid([]byte(r.Stdout)) {
			t.Errorf("portico %v prints no JSON:\n%s", c.args, r.Stdout)
		} else if c.code != 0 && r.Stderr == "" {
			t.Errorf("portico %v fails without a word", c.args)
		}
	}
	// An error names what helps.
	addr := func(addr, fingerprint string) []string {
		return []string{"PORTICO_ADDR=" + addr, "PORTICO_TOKEN=x", "PORTICO_FINGERPRINT=" + fingerprint}
	}
	for _, c := range []struct {
		env  []string
		args string
		want string
	}{
		{addr(harness.Addr(t), p.Fingerprint()), "members", "is the proxy running, and is that its admin address?"},
		{addr(p.HTTP, p.Fingerprint()), "members", "that seems to be an address of the sites"},
		{addr(p.Admin, "sha256:"+strings.Repeat("0", 64)), "members", "log in with the fingerprint that it prints"},
		{operator, "sessions nosuch", `there is no site "nosuch" (portico sites lists them)`},
		{operator, "sites set nosuch session.idle=1h", `there is no site "nosuch" (portico sites lists them)`},
		{operator, "sites set hello nosuch=1", `unknown setting "nosuch": docs/configuration.md lists them`},
		{operator, "logs hello --instance zzz", `the logs of "hello" have no line of instance "zzz"`},
		{operator, "logs hello --tail 0", "--tail 0: use 1 to 10000"},
		{operator, "token add --account nosuch", `there is no account "nosuch" (portico account lists them)`},
	} {
		r := harness.Run(t, c.env, strings.Fields(c.args)...)
		if r.Code == 0 || !strings.Contains(r.Stderr, c.want) || strings.Contains(r.Stderr, `Get "`) {
			t.Errorf("portico %s: %d, without %q: %s", c.args, r.Code, c.want, r.Stderr)
		}
	}
	// The log tells what was refused as such, and how each deploy has ended.
	for _, want := range []string{`msg="deploy succeeded"`, `msg="deploy failed"`, `exit status 3`, `msg="refused or failed"`, `there is no member \"nosuch\"`} {
		harness.Eventually(t, 30*time.Second, logged(p.Process, want))
	}
	// A time that is over is in TestDrainBySessions.
}
