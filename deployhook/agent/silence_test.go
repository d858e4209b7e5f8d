package agent_test

import (
	"log/slog"
	"strings"
	"testing"

	"portico/tests/support/written"
)

// A proxy that holds its polls while gossip speaks of newer revisions is there: only one that
// does not answer is called silent, with the reason, and told of when it is back.
func TestProxyIsCalledSilentOnlyWhenItIs(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	o, log := c.options(t.TempDir()), &written.Buffer{}
	nudges := make(chan int64)
	o.Logger, o.Nudge = slog.New(slog.NewTextHandler(log, nil)), nudges
	down := func(yes bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.down = yes
	}
	c.start(o)
	for rev := range int64(4) { // each ends one poll that was open, after a moment
		nudges <- 100 + rev
	}
	if strings.Contains(log.String(), "no proxy answers") {
		t.Errorf("a proxy that answers is called silent:\n%s", log)
	}
	down(true)
	go func() { // ends the poll that is open
		select {
		case nudges <- 200:
		case <-t.Context().Done():
		}
	}()
	eventually(t, "the proxy is called silent", func() bool {
		return strings.Contains(log.String(), "no proxy answers") && strings.Contains(log.String(), "no quorum")
	})
	down(false)
	eventually(t, "the proxy is back", func() bool { return strings.Contains(log.String(), "a proxy answers again") })
}
