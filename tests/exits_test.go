package tests

import (
	"strings"
	"testing"

	"portico/tests/harness"
)

// A release whose process ends at once fails its deploy at once, with the exit
// status and what the process said, and not when the time for a start is over:
// agents tell such an instance as exited.
func TestReleaseThatExitsFailsEarly(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	site := t.TempDir()
	// The time for a start is longer than the command may run.
	write(t, site, "portico.toml", "run = [\"sh\", \"-c\", \"echo cannot open the database >&2; exit 3\"]\n[deploy]\ntimeout = \"30m\"\n")
	r := p.CLI("deploy", "bad", site, "--host", "bad.test")
	for _, want := range []string{"exit status 3", "cannot open the database"} {
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("the report does not show %q:\n%s", want, r.Stderr)
		}
	}
	if r.Code != 1 {
		t.Errorf("exit code %d", r.Code)
	}
}
