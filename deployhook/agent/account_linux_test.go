package agent_test

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// TestNamedAccounts: sites run as the account that the machine names for all, or as
// the one that a site names and the machine allows; root and all others are refused
// with words, whoever names them (G1).
func TestNamedAccounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may start a process as another account: run the tests as root, as in a container, to see this one")
	}
	nobody, daemon := accountOf(t, "nobody"), accountOf(t, "daemon")
	for _, tt := range []struct {
		name, siteUser, wants string
		allowed               []string
		uid                   int    // that it runs as
		refused               string // or why it does not
	}{
		{"of the machine", "nobody", "", nil, nobody, ""},
		{"of the site", "", "daemon", []string{"nobody", "daemon"}, daemon, ""},
		{"of the site before the machine's", "nobody", "daemon", []string{"daemon"}, daemon, ""},
		{"not allowed", "nobody", "daemon", []string{"bin"}, 0, "agent.allow_users"},
		{"root", "", "root", []string{"root"}, 0, "never runs as root"},
		{"root for all", "root", "", nil, 0, "never runs as root"},
		{"unknown", "", "no-such-account", []string{"no-such-account"}, 0, "no-such-account"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t)
			dir := t.TempDir()
			if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // the account has to get there
				t.Fatal(err)
			}
			o := c.options(dir)
			o.SiteUser, o.AllowUsers = tt.siteUser, tt.allowed
			a := c.start(o)
			rel := c.serverRelease("1")
			s := runSettings()
			s.User = tt.wants
			c.want(current("shop", rel, s))
			if tt.refused != "" {
				in := c.awaitInstance("refused", rel, func(i messages.InstanceReport) bool {
					return strings.Contains(i.Progress.Detail, tt.refused)
				})
				if in.State == catalog.InstanceHealthy {
					t.Error("and it runs")
				}
				return
			}
			in := c.awaitHealthy(rel)
			env := readEnv(t, c.via(a.Addr(), in.ID+".instance"))
			if env.UID != tt.uid {
				t.Errorf("the site runs as %d, want %d", env.UID, tt.uid)
			}
			for _, line := range []string{"NoNewPrivs:\t1", "CapEff:\t0000000000000000"} {
				if !strings.Contains(env.Status, line) {
					t.Errorf("%q is missing in %s", line, env.Status)
				}
			}
		})
	}
}

func accountOf(t *testing.T, name string) int {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("a system without this account cannot show the rule; with CI=true that is a failure: ", err)
	}
	id, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
