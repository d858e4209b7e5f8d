package tests

import (
	"strings"
	"testing"

	"portico/tests/harness"
)

// TestDrainTellsItsOutcome: whoever waits for a drain hears how it ended, and by the exit code whether sessions were cut;
// so do the audit and who asks later.
func TestDrainTellsItsOutcome(t *testing.T) {
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "shop", harness.App("node"), "--host", "shop.test")
	settled(t, p, "shop", 2)
	_, seen := visitors(t, p.HTTP, "shop.test", "/", 8)
	if out := p.Must("drain"); !strings.Contains(out, "nothing drains") {
		t.Errorf("%q", out)
	}
	left := plural(spread(seen)["server-1"], "session")

	r := p.CLI("drain", "server-1", "--wait", "1s")
	if r.Code != 4 || !strings.Contains(r.Stdout, left+" left") || !strings.Contains(r.Stdout, "the last one ends in ") || !strings.Contains(r.Stderr, "it goes on draining") {
		t.Errorf("a wait that was too short: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if out := p.Must("drain"); !strings.Contains(out, "server-1") || !strings.Contains(out, left+" left") {
		t.Errorf("the list says %q", out)
	}
	r = p.CLI("drain", "server-1", "--deadline", "2s", "--wait", "30s")
	if r.Code != 1 || !strings.Contains(r.Stdout, "deadline in ") || !strings.Contains(r.Stderr, "at its deadline") {
		t.Errorf("a wait beyond the deadline: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if audit := p.Must("audit"); !strings.Contains(audit, "drain ended") {
		t.Errorf("the audit lacks the outcome:\n%s", audit)
	}
	p.Must("ready", "server-1")
	settled(t, p, "shop", 2)

	second := changed(t, harness.App("node"), "news.txt", "second")
	former := current(releases(p, "shop"))
	p.Must("deploy", "shop", second)
	settled(t, p, "shop", 2)
	if out := p.Must("drain", "shop@"+former[:12], "--now", "--yes"); !strings.Contains(out, "cut by local, with ") {
		t.Errorf("the end of a release says %q", out)
	}
	if r := p.CLI("drain", "shop@"+former[:12], "--now", "--yes"); r.Code != 1 || !strings.Contains(r.Stderr, "there is nothing to end") || strings.Contains(r.Stderr, "conflict:") {
		t.Errorf("ending it twice: exit %d %s", r.Code, r.Stderr)
	}
	if r := p.CLI("drain", "nobody"); r.Code != 1 || strings.Contains(r.Stderr, "not found:") {
		t.Errorf("an unknown server: exit %d %s", r.Code, r.Stderr)
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return errf("%d %ss", n, noun).Error()
}
