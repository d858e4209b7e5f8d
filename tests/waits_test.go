package tests

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/tests/harness"
)

// TestDrainWaitHoldsItsTime: a wait whose proxy is away, dead or frozen, ended up to five minutes after its time, and told nobody.
func TestDrainWaitHoldsItsTime(t *testing.T) {
	t.Parallel()
	p, _ := withSessions(t)
	holdsItsTime(t, p, "frozen", func() { p.Signal(syscall.SIGSTOP) })
	p.Signal(syscall.SIGCONT)
	p.WaitReady()
	holdsItsTime(t, p, "dead", p.Kill)
}

func holdsItsTime(t *testing.T, p *harness.Proxy, name string, away func()) {
	t.Helper()
	began := time.Now()
	w := harness.Start(t, "drain", []string{"PORTICO_DIR=" + p.Dir}, "drain", "server-1", "--wait", "12s")
	harness.Eventually(t, time.Minute, func() error {
		if !strings.Contains(w.Log(), "server-1: ") {
			return errf("%s", w.Log())
		}
		return nil
	})
	away()
	code := w.Wait(2 * time.Minute)
	if took := time.Since(began); took > harness.Patience(30*time.Second) || code != 4 {
		t.Errorf("%s: exit %d after %v", name, code, took)
	}
	for _, want := range []string{"the proxy at " + p.Admin + " has not answered for ", "so does this wait until ", "it goes on draining"} {
		if !strings.Contains(w.Log(), want) {
			t.Errorf("%s: nothing says %q:\n%s", name, want, w.Log())
		}
	}
}

// withSessions is a proxy with a server that holds some.
func withSessions(t *testing.T) (*harness.Proxy, *harness.Agent) {
	t.Helper()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	a := p.AddServer("server-1")
	p.Must("deploy", "shop", harness.App("node"), "--host", "shop.test")
	settled(t, p, "shop", 1)
	visitors(t, p.HTTP, "shop.test", "/", 3)
	return p, a
}

// TestWaitsOutliveTheProxy: a deploy was followed for eight seconds without its proxy only.
func TestWaitsOutliveTheProxy(t *testing.T) {
	t.Parallel()
	p, _ := withSessions(t)
	slow := changed(t, harness.App("node"), "news.txt", "slow")
	write(t, slow, "portico.toml", `run = ["sh", "-c", "sleep 25; exec node server.js"]

[health]
path = "/healthz"
status = "200"
interval = "500ms"

[deploy]
timeout = "5m"
`)
	deploy := harness.Start(t, "deploy", []string{"PORTICO_DIR=" + p.Dir}, "deploy", "shop", slow)
	asJSON := harness.Start(t, "drain", []string{"PORTICO_DIR=" + p.Dir}, "drain", "server-1", "--wait", "5m", "--json")
	harness.Eventually(t, time.Minute, func() error {
		var deploys []catalog.Deploy
		p.JSON(&deploys, "deploys", "--json")
		if len(deploys) < 2 || !strings.Contains(deploy.Log(), "starting") || len(drainsOf(t, p)) == 0 {
			return errf("not yet under way: %s %s", deploy.Log(), asJSON.Log())
		}
		return nil
	})
	p.Kill()
	for _, w := range []*harness.Process{deploy, asJSON} {
		harness.Eventually(t, time.Minute, func() error {
			if !strings.Contains(w.Log(), "has not answered for ") {
				return errf("it does not say that the proxy is away: %s", w.Log())
			}
			return nil
		})
	}
	time.Sleep(9 * time.Second) // more than it bore with before
	p.Restart()
	p.WaitReady()
	if code := deploy.Wait(5 * time.Minute); code != 0 || !strings.Contains(deploy.Log(), "the proxy answers again") || !strings.Contains(deploy.Log(), "deployed shop") {
		t.Errorf("exit %d\n%s", code, deploy.Log())
	}
	p.Must("ready", "server-1")
	if code := asJSON.Wait(2 * time.Minute); code != 1 {
		t.Errorf("exit %d\n%s", code, asJSON.Log())
	}
	first, _, _ := strings.Cut(asJSON.Log(), "\n")
	var warning map[string]string
	if err := json.Unmarshal([]byte(first), &warning); err != nil || !strings.Contains(warning["warning"], "has not answered for ") {
		t.Errorf("%v: %q is no warning", err, first)
	}
}
