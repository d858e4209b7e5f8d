package tests

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/harness"
)

// moody is an application that answers with errors from one signal to the next.
const moody = `'use strict';
let status = 200;
process.on('SIGUSR2', () => { status = status === 200 ? 500 : 200; });
require('http').createServer((req, res) => {
  res.statusCode = status;
  res.end('{}');
}).listen(process.env.PORT, '127.0.0.1');
`

// TestTroubleIsKnownThroughAgents: agents tell the proxy of their checks, so at rest it hardly connects to them. Whatever happens to an
// instance, to its agent or to the line is known as soon as if the proxy had checked itself, and over when it is over.
func TestTroubleIsKnownThroughAgents(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	network := harness.NewNet(t)
	front, host, other := network.Host("front"), network.Host("server-1"), network.Host("server-2")
	front.Knows(host)
	p := proxyOn(t, front)
	a := agentOn(t, p, host, "server-1")
	agentOn(t, p, other, "server-2")
	dir := t.TempDir()
	write(t, dir, "server.js", moody)
	write(t, dir, "portico.toml", "run = [\"node\", \"server.js\"]\n")
	p.Must("deploy", "moody", dir, "--host", "moody.test")
	for i := range 4 {
		page := t.TempDir()
		write(t, page, "index.html", "hello")
		p.Must("deploy", fmt.Sprintf("page-%d", i), page, "--host", fmt.Sprintf("page-%d.test", i))
	}
	settled(t, p, "moody", 2)

	knocks := front.Knocks(host)
	harness.Eventually(t, 2*time.Minute, func() error {
		began := time.Now()
		<-time.After(16 * time.Second) // what the test is about: 5 sites, each checked every 2 seconds
		if n := knocks.Since(began); n == 0 || n > 15 {
			return fmt.Errorf("at rest the proxy made %d connections in 16 s; 40 are one for each check", n)
		}
		return nil
	})

	all := func(sig syscall.Signal, pids []int) func() {
		return func() {
			for _, pid := range pids {
				_ = syscall.Kill(pid, sig)
			}
		}
	}
	site, agent := harness.Descendants(a.Pid()), []int{a.Pid()}
	for _, tt := range []struct {
		name       string
		begin, end func()
		known      time.Duration
		log        string // of site moody
	}{
		{"answers with an error", all(syscall.SIGUSR2, site), all(syscall.SIGUSR2, site), 9 * time.Second, "L7STS 500"},
		{"hangs", all(syscall.SIGSTOP, site), all(syscall.SIGCONT, site), 12 * time.Second, "L7TOUT"},
		{"agent stands still", all(syscall.SIGSTOP, agent), all(syscall.SIGCONT, agent), 9 * time.Second, "L4TOUT"},
		{"line is cut", host.Cut, host.Mend, 9 * time.Second, "L4TOUT"},
		{"process dies", all(syscall.SIGKILL, site), func() {}, 9 * time.Second, "the process has exited"},
	} {
		lines := func() (n int) {
			for line := range strings.Lines(p.Log()) {
				if strings.Contains(line, "site=moody") && strings.Contains(line, "from=up") && strings.Contains(line, tt.log) {
					n++
				}
			}
			return n
		}
		before, began := lines(), time.Now()
		tt.begin()
		harness.Eventually(t, time.Minute, func() error {
			if lines() == before {
				return fmt.Errorf("%s: not known", tt.name)
			}
			return nil
		})
		took := time.Since(began)
		if t.Logf("%s: known after %s", tt.name, took.Round(100*time.Millisecond)); harness.Over(took, tt.known) {
			t.Errorf("%s: known after %s", tt.name, took)
		}
		tt.end()
		settled(t, p, "moody", 2)
	}
}
