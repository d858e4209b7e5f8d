package tests

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/internal/refusal"
	"portico/proxy/admin/api"
	"portico/tests/harness"
)

// With --json nothing reaches the output but the result: what would have to be asked first is
// refused there with an error as the API tells it, which names the ways out, and nothing is done.
func TestJSONAsksNobody(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.Must("deploy", "hello", harness.App("node"), "--host", "hello.test")
	settled(t, p, "hello", 1)
	visitors(t, p.HTTP, "hello.test", "/", 1)
	site := changed(t, harness.App("node"), "news.txt", "second")
	p.Must("deploy", "hello", site)
	settled(t, p, "hello", 1)
	visitors(t, p.HTTP, "hello.test", "/", 1)
	var list api.SessionList
	p.JSON(&list, "sessions", "hello", "--list", "--json")
	if len(list.Sessions) == 0 {
		t.Fatal("no session is listed")
	}
	former := releases(p, "hello")[1].Digest[:12]
	before := p.Must("members", "--json")
	for _, args := range [][]string{
		{"drain", "server-1", "--now"},
		{"drain", "hello@" + former, "--now"},
		{"maint", "server-1"},
		{"revoke", "server-1"},
		{"remove", "hello"},
		{"deploy", "hello", site, "--no-pin"},
		{"rollback", "hello", "--no-pin"},
		{"sessions", "end", "hello", list.Sessions[0].ID},
		{"sessions", "move", "hello", list.Sessions[0].ID},
	} {
		name := strings.Join(args, " ")
		r := p.CLI(append(args, "--json")...)
		e := jsonError(t, name, r)
		if r.Code != 2 || e.Code != "unasked" || !strings.Contains(e.Message, "--yes") || !strings.Contains(e.Message, "session") {
			t.Errorf("%s: exit code %d, %+v", name, r.Code, e)
		}
		if !strings.Contains(e.Message, "--dry-run") && args[0] != "sessions" {
			t.Errorf("%s does not name --dry-run: %s", name, e.Message)
		}
	}
	if after := p.Must("members", "--json"); stripVolatile(after) != stripVolatile(before) {
		t.Errorf("what was refused has changed\n%s\nto\n%s", before, after)
	}
	for name, want := range map[string]string{
		"releases nosuch":         "not_found",
		"members --nosuch":        "usage",
		"sessions end hello 8f3b": "failed",
	} {
		if e := jsonError(t, name, p.CLI(append(strings.Fields(name), "--json")...)); e.Code != want {
			t.Errorf("%s: %+v, want code %s", name, e, want)
		}
	}
	interruptedWait(t, p)
	r := p.CLI("sessions", "end", "hello", "8f3b", "--yes")
	if !strings.Contains(r.Stderr, `has no session with the token "8f3b"; an id has 16 hexadecimal digits, and --id 8f3b finds by their beginning (`) {
		t.Errorf("an unknown session: %s", r.Stderr)
	}
	// After a crash of the proxy nobody is told that what it has seen since is all there is.
	p.Kill()
	p.Restart()
	p.WaitReady()
	settled(t, p, "hello", 1)
	visitors(t, p.HTTP, "hello.test", "/", 1)
	for args, want := range map[string]string{
		"sessions hello":           "there may be more",
		"maint server-1 --dry-run": "there may be more",
		"drain server-1 --dry-run": "there may be more",
		"drain server-1":           "and maybe more: the proxy started a short while ago",
	} {
		if out := p.Must(strings.Fields(args)...); !strings.Contains(out, want) {
			t.Errorf("portico %s says after a crash of the proxy %q", args, out)
		}
	}
}

// jsonError reads the error of a command that was given --json and must have printed nothing else.
func jsonError(t *testing.T, name string, r harness.Result) refusal.Error {
	t.Helper()
	var answer struct {
		Error refusal.Error `json:"error"`
	}
	lines := strings.SplitAfter(r.Stderr, "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, `{"warning"`) })
	if err := json.Unmarshal([]byte(strings.Join(lines, "")), &answer); err != nil || r.Stdout != "" {
		t.Errorf("%s: output %q, error output %q", name, r.Stdout, r.Stderr)
	}
	return answer.Error
}

// Who ends a wait with Ctrl-C is told that the drain goes on, and what to do about it.
func interruptedWait(t *testing.T, p *harness.Proxy) {
	wait := harness.Start(t, "wait", []string{"PORTICO_DIR=" + p.Dir}, "drain", "server-1", "--wait", "10m")
	harness.Eventually(t, time.Minute, logged(wait, "sessions left"))
	wait.Signal(os.Interrupt)
	if code := wait.Wait(time.Minute); code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"interrupted: server-1 goes on draining with ", "portico drain server-1 --wait 8h waits again", "portico ready server-1 takes it back"} {
		if !strings.Contains(wait.Log(), want) {
			t.Errorf("it does not say %q:\n%s", want, wait.Log())
		}
	}
	p.Must("ready", "server-1")
	for args, want := range map[string]string{
		"drain server-1 --quiet 3m":   "give --move with it",
		"drain server-1 --move --now": "move sessions, or cut them",
		"drain server-1 --wait 5":     `invalid argument "5" for "--wait": write a number with a unit`,
	} {
		if r := p.CLI(strings.Fields(args)...); r.Code != 2 || !strings.Contains(r.Stderr, want) {
			t.Errorf("%s: exit code %d, want 2 and %q: %s", args, r.Code, want, r.Stderr)
		}
	}
}
