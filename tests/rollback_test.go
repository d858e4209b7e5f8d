package tests

import (
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// wellAt is a site whose process is well at one path until a visitor asks for /fall.
func wellAt(t *testing.T, path string) string {
	dir := t.TempDir()
	write(t, dir, "portico.toml", `hosts = ["turns.test"]
run = ["node", "server.js"]
[health]
path = "`+path+`"
interval = "500ms"
[deploy]
timeout = "1h"
`)
	write(t, dir, "server.js", `let well = true
require('http').createServer((q, a) => {
  if (q.url === '/fall') well = false
  a.statusCode = q.headers['user-agent'] !== 'portico-check' || well && q.url === '`+path+`' ? 200 : 500
  a.end('`+path+`')
}).listen(process.env.PORT, '127.0.0.1')
`)
	return dir
}

// TestRollbackToAFailingRelease: two releases that are well at different paths take turns, each judged by its own. A rollback to one
// whose process fails its checks is known to fail long before deploy.timeout, and says why.
func TestRollbackToAFailingRelease(t *testing.T) {
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	one, two := wellAt(t, "/one"), wellAt(t, "/two")
	p.Must("deploy", "turns", one)
	visitor := harness.NewVisitor(t, p.HTTP, "turns.test")
	stays := func() {
		t.Helper()
		if _, body, err := visitOK(visitor, "/"); err != nil || string(body) != "/one" {
			t.Fatalf("the visitor of the first release: %q, %v", body, err)
		}
	}
	stays()
	for range 2 {
		p.Must("deploy", "turns", two)
		stays()
		p.Must("deploy", "turns", one)
		stays()
	}
	p.Must("deploy", "turns", two)
	if strings.Contains(p.Log(), "to=down") {
		t.Errorf("a sound release was taken for a failing one:\n%s", p.Log())
	}
	if _, _, err := visitor.Do("GET", "/fall", nil); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, time.Minute, logged(p.Process, "to=down"))
	r := p.CLI("rollback", "turns")
	if r.Code != 1 || !strings.Contains(r.Stderr, "it was healthy, and fails the checks of its agent now\n  last check: L7STS, status 500") {
		t.Errorf("exit code %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if _, body, err := visitOK(harness.NewVisitor(t, p.HTTP, "turns.test"), "/"); err != nil || string(body) != "/two" {
		t.Errorf("a new visitor after it: %q, %v", body, err)
	}
}
