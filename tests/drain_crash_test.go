package tests

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/deployhook"
	"portico/proxy/admin/api"
	"portico/tests/harness"
)

// TestDrainTellsOfACrash: a drain whose instance, server or former release dies in the middle
// does not end as empty: whoever waits hears by the exit code that sessions were lost, how many, and why, and
// so do the audit, the API, the page, and who looks while it goes on.
func TestDrainTellsOfACrash(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	agents := map[string]*harness.Agent{}
	for _, name := range []string{"server-1", "server-2"} {
		agents[name] = p.AddServer(name)
	}
	p.Must("deploy", "shop", harness.App("node"), "--host", "shop.test")
	p.Must("sites", "set", "shop", "session.patience=1s") // a server is killed, and nobody is left there to say so
	settled(t, p, "shop", 2)

	t.Run("instance", func(t *testing.T) {
		vs, seen := visitors(t, p.HTTP, "shop.test", "/", 6)
		id := instanceOn(t, p, seen[0].Server)
		w := waitForDrain(t, p, "shop/"+id)
		crash(t, vs[0])
		w.tells(t, p, "shop/"+id, spread(seen)[seen[0].Server], "instance-exited")
		settled(t, p, "shop", 2)
	})
	t.Run("server", func(t *testing.T) {
		_, seen := visitors(t, p.HTTP, "shop.test", "/", 6)
		lost := 0
		for _, in := range countsOf(t, p) {
			if in.Member == "server-2" {
				lost += int(in.Sessions)
			}
		}
		if spread(seen)["server-2"] == 0 || lost == 0 {
			t.Fatalf("nobody is on the server: %v", spread(seen))
		}
		w := waitForDrain(t, p, "server-2")
		agents["server-2"].KillWithSites()
		harness.Eventually(t, 30*time.Second, func() error {
			if d := drainsOf(t, p); len(d) != 1 || d[0].Lost != lost || d[0].Cause == "" {
				return errf("the drain does not say that its server has failed: %+v", d)
			}
			return nil
		})
		if out := p.Must("drain"); !strings.Contains(out, plural(lost, "session")+" lost") {
			t.Errorf("the list says %q", out)
		}
		agents["server-2"].Restart()
		w.tells(t, p, "server-2", lost, "instance-exited", "member-failed", "network")
		p.Must("ready", "server-2")
		settled(t, p, "shop", 2)
	})
	t.Run("release", func(t *testing.T) {
		vs, seen := visitors(t, p.HTTP, "shop.test", "/", 6)
		for len(spread(seen)) < 2 && len(vs) < 50 { // those of before count where sessions are the fewest
			more, there := visitors(t, p.HTTP, "shop.test", "/", 1)
			vs, seen = append(vs, more...), append(seen, there...)
		}
		counts := countsOf(t, p)
		p.Must("deploy", "shop", changed(t, harness.App("node"), "news.txt", "new"))
		former := "shop@" + seen[0].Release[:12]
		w := waitForDrain(t, p, former)
		crash(t, vs[0])
		crash(t, vs[slices.IndexFunc(seen, func(s harness.Visit) bool { return s.Server != seen[0].Server })])
		lost := 0
		for _, in := range counts {
			lost += int(in.Sessions)
		}
		w.tells(t, p, former, lost, "instance-exited")
	})
}

// crash has the instance of a visitor's session end.
func crash(t *testing.T, v *harness.Visitor) {
	t.Helper()
	if resp, body, err := v.Do(http.MethodGet, "/crash", nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("crash: %v %s", err, body)
	}
}

// countsOf are the sessions of each instance.
func countsOf(t *testing.T, p *harness.Proxy) []api.SessionCount {
	t.Helper()
	var counts []api.SessionCount
	p.JSON(&counts, "sessions", "shop", "--json")
	return counts
}

func instanceOn(t *testing.T, p *harness.Proxy, server string) string {
	t.Helper()
	for _, in := range countsOf(t, p) {
		if in.Member == server {
			return in.Instance
		}
	}
	t.Fatalf("no instance on %s", server)
	return ""
}

// waiting is a command that drains and waits.
type waiting struct{ *harness.Process }

// waitForDrain begins to drain, and returns when the proxy knows of the drain's sessions
// and its wait has said so.
func waitForDrain(t *testing.T, p *harness.Proxy, object string) waiting {
	t.Helper()
	w := waiting{harness.Start(t, "drain", []string{"PORTICO_DIR=" + p.Dir}, "drain", object, "--wait", "90s")}
	harness.Eventually(t, 20*time.Second, func() error {
		if d := drainsOf(t, p); len(d) != 1 || d[0].Sessions == 0 || d[0].Kind != deployhook.DrainRelease && !d[0].Held {
			return errf("it does not drain: %+v", d)
		}
		if !strings.Contains(w.Log(), " left, ") {
			return errf("the wait says %q", w.Log())
		}
		return nil
	})
	return w
}

// tells checks that the end of a drain is told as a loss everywhere.
func (w waiting) tells(t *testing.T, p *harness.Proxy, object string, lost int, causes ...string) {
	t.Helper()
	code := w.Wait(60 * time.Second)
	want := plural(lost, "session") + " lost"
	if code != 1 || !strings.Contains(w.Log(), "the drain of "+object+" has ended: ") || !strings.Contains(w.Log(), want) {
		t.Errorf("the wait ends with exit code %d, want 1 and %q:\n%s", code, want, w.Log())
	}
	status, body := p.API(http.MethodGet, "/v1/drains/ended", nil)
	var ended []api.DrainOutcome
	decode(t, body, &ended)
	if status != http.StatusOK || len(ended) == 0 || ended[0].Object != object || ended[0].Lost != lost || ended[0].Empty || !slices.Contains(causes, ended[0].How) {
		t.Errorf("want %s, %d lost by one of %v: %s", object, lost, causes, body)
	}
	if audit := p.Must("audit"); !strings.Contains(audit, want) {
		t.Errorf("the audit does not say %q:\n%s", want, audit)
	}
	if !strings.Contains(p.Log(), fmt.Sprintf("object=%s outcome=", object)) || !strings.Contains(p.Log(), want) {
		t.Errorf("the log does not say %q", want)
	}
	if _, page := p.API(http.MethodGet, "/stats", nil); !strings.Contains(page, want) {
		t.Errorf("the page does not say %q", want)
	}
}
