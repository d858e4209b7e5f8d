package tests

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/deployhook"
	"portico/tests/harness"
)

// A server, an instance and a former release are emptied of their sessions: they
// stay until they end, the wait tells when, and the outcome is in the audit.
func TestDrainBySessions(t *testing.T) {
	t.Parallel()
	harness.Need(t, "php")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "php", harness.App("php"), "--host", "php.test")
	settled(t, p, "php", 2)
	vs, seen := visitors(t, p.HTTP, "php.test", "/", 6)

	if out := p.Must("drain", "server-1", "--dry-run"); !strings.Contains(out, "cuts nothing") {
		t.Errorf("the forecast says %q", out)
	}
	p.Must("drain", "server-1")
	stay(t, vs, seen, "/")
	if d := drainsOf(t, p); len(d) != 1 || d[0].Object != "server-1" || d[0].Sessions != 3 || d[0].Ends.IsZero() || d[0].Instances != 1 {
		t.Errorf("%+v", d)
	}
	r := p.CLI("drain", "server-1", "--wait", "1s")
	if r.Code != 4 || !strings.Contains(r.Stdout, "3 sessions left") {
		t.Errorf("a wait that is too short: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	p.Must("sites", "set", "php", "session.idle=4s") // holds for those who are there, too
	if out := p.Must("drain", "server-1", "--wait", "60s"); !strings.Contains(out, "server-1 is empty") {
		t.Errorf("the wait ends with %q", out)
	}
	harness.Eventually(t, time.Minute, func() error {
		if out := p.Must("audit"); !strings.Contains(out, "drain ended") || !strings.Contains(out, "empty after") {
			return errf("the audit log does not tell the outcome:\n%s", out)
		}
		return nil
	})
	p.Must("ready", "server-1")
	if d := drainsOf(t, p); len(d) != 0 {
		t.Errorf("after ready: %+v", d)
	}

	t.Run("instance", func(t *testing.T) { drainInstance(t, p) })
	t.Run("release", func(t *testing.T) { drainRelease(t, p) })
	t.Run("deadline", func(t *testing.T) { drainDeadline(t, p) })
}

func drainsOf(t *testing.T, p *harness.Proxy) []deployhook.Drain {
	t.Helper()
	code, body := p.API(http.MethodGet, "/v1/drains", nil)
	if code != http.StatusOK {
		t.Fatalf("GET /v1/drains: %d %s", code, body)
	}
	var list []deployhook.Drain
	decode(t, body, &list)
	return list
}

func drainInstance(t *testing.T, p *harness.Proxy) {
	_, seen := visitors(t, p.HTTP, "php.test", "/", 1)
	in := sessionsOf(t, p).Sessions[0]
	p.Must("drain", "php/"+in.Instance[:8])
	_, more := visitors(t, p.HTTP, "php.test", "/", 6)
	if spread(more)[seen[0].Server] != 0 {
		t.Errorf("new visitors on an instance that drains: %v", spread(more))
	}
	p.Must("maint", "php/"+in.Instance[:8], "--yes")
	p.Must("ready", "php/"+in.Instance[:8])
	harness.Eventually(t, time.Minute, func() error {
		_, more := visitors(t, p.HTTP, "php.test", "/", 6)
		if spread(more)[seen[0].Server] == 0 {
			return errf("no new visitor on an instance that is back: %v", spread(more))
		}
		return nil
	})
}

func drainRelease(t *testing.T, p *harness.Proxy) {
	p.Must("sites", "set", "php", "session.idle=10m")
	vs, seen := visitors(t, p.HTTP, "php.test", "/", 4)
	p.Must("deploy", "php", changed(t, harness.App("php"), "public/next.txt", "next\n"))
	stay(t, vs, seen, "/")
	former := "php@" + seen[0].Release[:8]
	if r := p.CLI("drain", former, "--now"); r.Code != 2 || !strings.Contains(r.Stdout, "would cut ") {
		t.Errorf("without --yes: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	stay(t, vs, seen, "/")
	p.Must("drain", former, "--now", "--yes")
	if r := p.CLI("drain", former, "--now", "--yes"); r.Code != 1 || !strings.Contains(r.Stderr, "nothing to end") {
		t.Errorf("a release that is gone: %d %s", r.Code, r.Stderr)
	}
	for _, v := range vs {
		if got := v.Get("/"); got.Release == seen[0].Release || got.Lost == "" {
			t.Errorf("after the cut: %+v", got)
		}
	}
	if r := p.CLI("drain", "php@"+vs[0].Get("/").Release[:8]); r.Code != 1 || !strings.Contains(r.Stderr, "present release") {
		t.Errorf("the present release: %d %s", r.Code, r.Stderr)
	}
}

func drainDeadline(t *testing.T, p *harness.Proxy) {
	vs, seen := visitors(t, p.HTTP, "php.test", "/", 4)
	p.Must("sites", "set", "php", "session.notice=true")
	p.Must("drain", "server-2", "--deadline", "2s", "--move", "--quiet", "1m")
	harness.Eventually(t, time.Minute, func() error {
		if len(drainsOf(t, p)) != 0 {
			return errf("the drain goes on after its deadline")
		}
		return nil
	})
	for i, v := range vs {
		page := ""
		if seen[i].Server == "server-2" {
			page = navigate(t, v)
		}
		got := v.Get("/")
		if got.Server == "server-2" || seen[i].Server == "server-1" && got.Server != "server-1" {
			t.Errorf("visitor of %s is on %s", seen[i].Server, got.Server)
		}
		if seen[i].Server == "server-2" && (got.Lost != "cause=deadline" || !strings.Contains(page, "the time to finish there is over")) {
			t.Errorf("visitor %d was cut by the deadline and is told %q and %s", i, got.Lost, page)
		}
	}
	harness.Eventually(t, time.Minute, func() error { // a process's log takes a moment to get here
		if n := spread(seen)["server-2"]; strings.Count(p.Log(), "cause=deadline from=server-2") != n {
			return errf("the log does not tell of %d sessions that the deadline has cut", n)
		}
		return nil
	})
	if _, metrics := p.API(http.MethodGet, "/metrics", nil); !strings.Contains(string(metrics), fmt.Sprintf(`portico_pool_lost_sessions_total{site="php",cause="deadline"} %d`, spread(seen)["server-2"])) {
		t.Errorf("no counter of them:\n%s", metrics)
	}
	p.Must("ready", "server-2")
	settled(t, p, "php", 2)
	vs, seen = visitors(t, p.HTTP, "php.test", "/", 4)
	p.Must("drain", "server-2", "--now", "--yes")
	for i, v := range vs {
		if got := v.Get("/"); seen[i].Server == "server-2" && got.Lost != "cause=operator" {
			t.Errorf("visitor %d was cut at once and is told %q", i, got.Lost)
		}
	}
}

// navigate asks for the page as a browser does when somebody follows a link, and
// returns it.
func navigate(t *testing.T, v *harness.Visitor) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+v.Host+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	resp, err := v.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
