//go:build unix

package tests

import (
	"strings"
	"testing"

	"portico/tests/harness"
)

// Without a home there is no saved login. A folder that happens to hold a file of its name leads no command to
// another cluster, and login says what to set before it asks for a password.
func TestWithoutHomeNoLoginIsSaved(t *testing.T) {
	t.Parallel()
	here := t.TempDir()
	write(t, here, "portico/client.json", `{"addr":"127.0.0.1:1","token":"somebody's"}`)
	homeless := []string{"env", "-u", "HOME", "-u", "XDG_CONFIG_HOME", "-C", here}
	if r := harness.RunIn(t, homeless, nil, "members"); r.Code != 2 || !strings.Contains(r.Stderr, "no cluster is known here") {
		t.Errorf("members ends with %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := harness.RunIn(t, homeless, nil, "login", "127.0.0.1:1", "--account", "ann"); r.Code != 1 || !strings.Contains(r.Stderr, "set HOME") {
		t.Errorf("login ends with %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}
