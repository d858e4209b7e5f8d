package tests

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"portico/tests/harness"
)

// TestChangeOverToOwnTomcat: an agent with the Manager of a Tomcat for all sites is given none, as joining.md says it is
// done: the server is drained, the line goes, the agent starts again, the server is taken back. Nobody loses a session, and
// each site has a Tomcat of its own there.
func TestChangeOverToOwnTomcat(t *testing.T) {
	t.Parallel()
	harness.Need(t, "/usr/share/tomcat10/bin/bootstrap.jar")
	harness.Need(t, "java")
	tc := harness.StartTomcat(t)
	config := writeFile(t, "portico.toml", fmt.Sprintf("[agent.tomcat]\nurl = %q\nuser = %q\npassword_file = %q\n", tc.ManagerURL(), tc.User, writeFile(t, "manager-password", tc.Password)))
	p := harness.StartProxy(t)
	a := p.AddServer("server-1", "--config", config)
	p.AddServer("server-2")
	p.Must("deploy", "java", webApp(t, fmt.Sprintf(lean, "java")), "--host", "java.test")
	settled(t, p, "java", 2)

	p.Must("drain", "server-1", "--wait", "1m")
	vs, seen := visitors(t, p.HTTP, "java.test", "/", 4)
	a.Signal(syscall.SIGTERM)
	a.Wait(time.Minute)
	if err := os.WriteFile(config, []byte("# each site has its own\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.Restart()
	p.Must("ready", "server-1")
	settled(t, p, "java", 2)
	stay(t, vs, seen, "/")
	harness.Eventually(t, time.Minute, func() error {
		_, fresh := visitors(t, p.HTTP, "java.test", "/", 6)
		if spread(fresh)["server-1"] == 0 || spread(fresh)["server-2"] == 0 {
			return errf("new visitors are on %v", spread(fresh))
		}
		return nil
	})
}
