package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"portico/tests/harness"
)

// readsClock is how code would ask the system for a time as the balancer takes it.
var readsClock = regexp.MustCompile(`time\.Now\(\)(\.Add\([^)]*\))?\.Unix(Milli)?\(\)`)

// TestTheBalancerIsToldOfTheClock: the balancer has no clock of its own. Who asks it at a time gets that from proxy.Server, which looks
// first whether the clock was set: else every session would be 26 hours old for a moment, and a drain at its end.
func TestTheBalancerIsToldOfTheClock(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, dir := range []string{"proxy", "proxy/admin", "proxy/admin/*", "proxy/frontdoor", "cmd/portico", "cmd/portico/client", "cmd/portico/start"} {
		files, err := filepath.Glob(filepath.Join(harness.Root(), dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			seen++
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range readsClock.FindAllString(string(text), -1) {
				t.Errorf("%s/%s says %s: take Server.Now or Server.millis, which tell the balancer when the clock was set", dir, filepath.Base(name), found)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d files were looked at", seen)
	}
}
