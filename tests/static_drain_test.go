package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/harness"
)

// A server without an agent is emptied before it is serviced, by a line in the proxy's file: who has a session there
// stays, who comes anew goes to the other, and without the line it is as before. The command that drains
// application servers says so.
func TestStaticUpstreamDrains(t *testing.T) {
	t.Parallel()
	file, one, two := filepath.Join(t.TempDir(), "portico.toml"), namedServer(t, "webdev-1"), namedServer(t, "webdev-2")
	configure := func(line string) {
		t.Helper()
		text := fmt.Sprintf("[[site]]\nname = \"erp\"\nhosts = [\"erp.test\"]\n[[site.upstream]]\nname = \"webdev-2\"\naddr = %q\n[[site.upstream]]\nname = \"webdev-1\"\naddr = %q\n%s\n", two, one, line)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("")
	p := harness.StartProxy(t, "--config", file)
	settled(t, p, "erp", 2)
	vs, seen := visitors(t, p.HTTP, "erp.test", "/", 8)
	if len(spread(seen)) != 2 {
		t.Fatalf("8 visitors are on %v", spread(seen))
	}

	configure("drain = true")
	p.Signal(syscall.SIGHUP)
	harness.Eventually(t, time.Minute, func() error {
		if out := p.Must("stats"); !strings.Contains(out, "DRAIN") {
			return errf("no upstream drains:\n%s", out)
		}
		return nil
	})
	for i, v := range vs {
		if got := v.Get("/"); got.Server != seen[i].Server {
			t.Errorf("a visitor of %s came to %s", seen[i].Server, got.Server)
		}
	}
	if _, fresh := visitors(t, p.HTTP, "erp.test", "/", 8); spread(fresh)["webdev-1"] > 0 {
		t.Errorf("new visitors are on %v", spread(fresh))
	}
	if out := p.Must("export", "haproxy"); strings.Count(out, "weight 0") != 1 {
		t.Errorf("the export drains not one server:\n%s", out)
	}
	if r := p.CLI("drain", "erp/webdev-1"); r.Code != 1 || !strings.Contains(r.Stderr, "drain = true") {
		t.Errorf("drain ends with %d and does not say how:\n%s", r.Code, r.Stderr)
	}

	configure("")
	p.Signal(syscall.SIGHUP)
	harness.Eventually(t, time.Minute, func() error {
		if _, fresh := visitors(t, p.HTTP, "erp.test", "/", 4); spread(fresh)["webdev-1"] == 0 {
			return errf("new visitors are on %v", spread(fresh))
		}
		return nil
	})
}
