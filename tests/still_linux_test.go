package tests

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/harness"
)

// TestStandingStillIsNoticed: a process that stands still ends no connection. Each command that waits for a proxy, or follows what it
// tells, says so and goes on when the proxy does; one that follows a log is told as well of an application server that stands still.
func TestStandingStillIsNoticed(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	server := p.AddServer("server-1")
	dir := changed(t, harness.App("node"), "news.txt", "ticks")
	write(t, dir, "ticks.sh", "(i=100; while :; do echo tick $i; i=$((i+1)); sleep 0.3; done) &\nexec node server.js\n")
	write(t, dir, "portico.toml", "run = [\"sh\", \"ticks.sh\"]\n[health]\npath = \"/healthz\"\nstatus = \"200\"\n")
	p.Must("deploy", "shop", dir, "--host", "shop.test")
	if _, _, err := visitOK(harness.NewVisitor(t, p.HTTP, "shop.test"), "/"); err != nil {
		t.Fatal(err)
	}
	env := []string{"PORTICO_DIR=" + p.Dir}
	logs := harness.Start(t, "logs", env, "logs", "shop", "-f")
	top := harness.Start(t, "top", env, "top", "--every", "200ms")
	drain := harness.Start(t, "drain", env, "drain", "server-1", "--wait", "1h")
	slow := t.TempDir()
	write(t, slow, "portico.toml", "run = [\"sleep\", \"1000\"]\n[deploy]\ntimeout = \"1h\"\n")
	deploy := harness.Start(t, "deploy", env, "deploy", "slow", slow, "--host", "slow.test")
	goesOn(t, logs, top)
	harness.Eventually(t, time.Minute, logged(drain, "server-1"))
	harness.Eventually(t, time.Minute, logged(deploy, "server-1: starting"))

	p.Signal(syscall.SIGSTOP)
	for _, w := range []*harness.Process{logs, top, drain, deploy} {
		harness.Eventually(t, 2*time.Minute, logged(w, "has not answered for "))
	}
	p.Signal(syscall.SIGCONT)
	for _, w := range []*harness.Process{logs, top, drain, deploy} {
		harness.Eventually(t, time.Minute, logged(w, "the proxy answers again"))
	}
	goesOn(t, logs, top)

	server.Signal(syscall.SIGSTOP)
	harness.Eventually(t, 2*time.Minute, logged(logs, "server-1 | portico: its log cannot be read: "))
	server.Signal(syscall.SIGCONT)
	goesOn(t, logs)
	if n := strings.Count(logs.Log(), "its log cannot be read: "); n != 1 {
		t.Errorf("%d times:\n%s", n, logs.Log())
	}
}
