package agent_test

import (
	"os"
	"strings"
	"testing"

	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// An instance that is healthy between two crashes is not told as a sound one: its report says how
// those before it have ended.
func TestCrashLoopIsToldWhileItIsUp(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	rel := c.serverRelease("1")
	c.want(current("shop", rel, runSettings()))
	seen := map[string]bool{}
	for n := range 4 {
		in := c.awaitInstance("healthy again", rel, func(i messages.InstanceReport) bool {
			return i.State == catalog.InstanceHealthy && !seen[i.ID]
		})
		seen[in.ID] = true
		want := ""
		if n == 3 {
			want = "in a crash loop: 3 short runs in a row before this one, the last ended with "
		}
		if in.Detail != want && (want == "" || !strings.HasPrefix(in.Detail, want)) {
			t.Errorf("after %d ends: %q, want %q", n, in.Detail, want)
		}
		process, err := os.FindProcess(pidOf(t, get(t, c.via(a.Addr(), in.ID+".instance"), "/")))
		if err != nil {
			t.Fatal(err)
		}
		if err := process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
}
