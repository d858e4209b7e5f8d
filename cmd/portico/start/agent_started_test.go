package start

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/spf13/cobra"

	"portico/cmd/portico/shell"
	"portico/conf"
)

// TestStopRemembersHowTheAgentWasStarted: portico agent stop --sites forgot every flag, variable and file that the agent had
// been started with: it listened elsewhere, and ended sites by other limits.
func TestStopRemembersHowTheAgentWasStarted(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "portico.toml")
	if err := os.WriteFile(file, []byte("[agent]\nzone = \"room-1\"\nports = \"21000-21999\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "agent"), 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(cmd *cobra.Command, environ []string, args ...string) (*settings, *shell.Call) {
		t.Helper()
		st, s := &settings{}, &shell.Call{Environ: environ, Dir: dir}
		bindAgent(st, cmd)
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		return st, s
	}
	first := &cobra.Command{Use: "agent"}
	st, s := run(first, []string{"PORTICO_AGENT_LOG_SIZE=3MiB", "PORTICO_AGENT_COMMAND_TIMEOUT=7m"},
		"--config", file, "--listen", "127.0.0.1:7001", "--gossip", "127.0.0.1:7002", "--advertise", "10.0.0.1:7001",
		"--name", "server-1", "--join", "a:1,b:2", "--set", "agent.weight=7", "--set", "log.level=warn")
	want, err := st.load(s, first)
	if err != nil {
		t.Fatal(err)
	}
	given, err := st.given(s, first)
	if err == nil {
		err = given.Remember(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	load := func(environ []string, args ...string) conf.Config {
		t.Helper()
		stop := &cobra.Command{Use: "stop"}
		st, s := run(stop, environ, args...)
		c, err := st.loadAs(s, stop)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if got := load(nil); !reflect.DeepEqual(got, want) {
		t.Errorf("the second command has\n%+v\nthe agent had\n%+v", got, want)
	}
	got := load([]string{"PORTICO_AGENT_LOG_SIZE=5MiB"}, "--listen", "127.0.0.1:9")
	if got.Agent.Address != "127.0.0.1:9" || got.Agent.LogSize.Bytes() != 5<<20 || got.Gossip.Address != "127.0.0.1:7002" || got.Agent.Zone != "room-1" {
		t.Errorf("what it is given itself does not count, or what it is not given is lost: %+v %+v", got.Agent, got.Gossip)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := load(nil); got.Agent.Address != "127.0.0.1:7001" {
		t.Errorf("without the file it forgets the flags: %+v", got.Agent)
	}
}
