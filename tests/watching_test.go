package tests

import (
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// TestWatchingOutlivesTheProxy: portico top and portico logs -f say that the proxy is away and go on when it is back, killed or replaced.
// No line of the log is missing, those that were written meanwhile neither.
func TestWatchingOutlivesTheProxy(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	dir := changed(t, harness.App("node"), "news.txt", "ticks")
	write(t, dir, "ticks.sh", "(i=100; while :; do echo tick $i; i=$((i+1)); sleep 0.3; done) &\nexec node server.js\n")
	write(t, dir, "portico.toml", `run = ["sh", "ticks.sh"]

[health]
path = "/healthz"
status = "200"
`)
	p.Must("deploy", "shop", dir, "--host", "shop.test")
	env := []string{"PORTICO_DIR=" + p.Dir}
	logs := harness.Start(t, "logs", env, "logs", "shop", "-f")
	top := harness.Start(t, "top", env, "top", "--every", "200ms")
	asJSON := harness.Start(t, "top --json", env, "top", "--every", "200ms", "--json")
	watching := []*harness.Process{logs, top, asJSON}
	goesOn(t, logs, top, asJSON)

	p.Kill()
	for _, w := range watching {
		harness.Eventually(t, time.Minute, logged(w, "has not answered for "))
	}
	p.Restart()
	p.WaitReady()
	goesOn(t, logs, top, asJSON)
	for _, w := range []*harness.Process{logs, top} {
		harness.Eventually(t, time.Minute, logged(w, "the proxy answers again"))
	}
	former := p.Process
	p.Process = former.Successor()
	harness.Eventually(t, time.Minute, logged(p.Process, "taken over"))
	former.Wait(2 * time.Minute)
	goesOn(t, logs, top, asJSON)

	for _, w := range watching {
		w.Signal(os.Interrupt)
		if code := w.Wait(time.Minute); code != 0 {
			t.Errorf("exit %d\n%s", code, w.Log())
		}
	}
	count := map[int]int{}
	first, last := 1<<30, 0
	for _, m := range regexp.MustCompile(`\| tick (\d+)\n`).FindAllStringSubmatch(logs.Log(), -1) {
		n, _ := strconv.Atoi(m[1])
		count[n]++
		first, last = min(first, n), max(last, n)
	}
	twice := 0
	for n := first; n <= last; n++ {
		if count[n] == 0 {
			t.Errorf("tick %d of %d to %d is missing", n, first, last)
		}
		twice += max(count[n]-1, 0)
	}
	t.Logf("%d lines, %d of them twice", last-first+1, twice)
	if twice > 20 { // of each of two breaks, three seconds' worth at most
		t.Errorf("%d lines came twice", twice)
	}
	for _, line := range strings.Split(strings.TrimSpace(asJSON.Log()), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("%.200q is no JSON", line)
		}
	}
}

// goesOn waits for news from each.
func goesOn(t *testing.T, watching ...*harness.Process) {
	t.Helper()
	for _, w := range watching {
		before := len(w.Log())
		harness.Eventually(t, time.Minute, func() error {
			if news := w.Log()[before:]; strings.Count(news, "shop")+strings.Count(news, "| tick ") < 8 {
				return errf("nothing more comes: %s", news)
			}
			return nil
		})
	}
}
