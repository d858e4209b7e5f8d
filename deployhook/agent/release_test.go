package agent_test

import (
	"strings"
	"testing"

	"portico/membership/catalog"
)

// withTwo starts an agent of two proxies with one instance, which nothing wants any more.
func withTwo(t *testing.T) (first, second *cluster, still func()) {
	t.Helper()
	first = newCluster(t)
	second = newClusterOf(t, first.ca)
	first.stopOK, second.stopOK = false, false
	o := first.options(t.TempDir())
	o.SetStopWait(waitTime)
	a := first.start(o)
	rel := first.serverRelease("1")
	both := []catalog.Peer{first.peer(), {Name: "proxy2", Addr: second.peer().Addr}}
	first.update(func(w *catalog.Wanted) {
		w.Proxies, w.Releases = both, []catalog.WantedRelease{current("shop", rel, runSettings())}
	})
	inst := first.awaitHealthy(rel)
	second.await("the other proxy gets a copy", func(r catalog.Report) bool { return r.Copy && len(r.Instances) == 1 })
	client := first.via(a.Addr(), inst.ID+".instance")
	first.update(func(w *catalog.Wanted) { w.Proxies, w.Releases = both, nil })
	first.awaitInstance("asks to stop", rel, func(i catalog.InstanceReport) bool {
		return i.Progress.Step == catalog.StepStopped && i.State == catalog.InstanceHealthy
	})
	return first, second, func() {
		t.Helper()
		asks := 0
		first.await("asks again and again", func(r catalog.Report) bool { asks++; return asks > 3 })
		if body := get(t, client, "/"); !strings.HasPrefix(body, inst.ID) {
			t.Errorf("the instance says %q while a proxy still needs it", body)
		}
	}
}

func (c *cluster) allow(others ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopOK, c.others = true, others
}

func (c *cluster) awaitStopped() {
	c.t.Helper()
	c.await("stopped", func(r catalog.Report) bool { return len(r.Instances) == 0 })
}

// An instance runs until every proxy has let go of it, whichever says so first.
func TestStopWaitsForEveryProxy(t *testing.T) {
	first, second, still := withTwo(t)
	first.allow()
	still()
	second.allow()
	first.awaitStopped()
}

// The word of a proxy that this machine does not reach comes by way of another one.
func TestStopByAnotherProxysWord(t *testing.T) {
	first, second, still := withTwo(t)
	second.mu.Lock()
	second.down = true
	second.mu.Unlock()
	first.allow()
	still()
	first.allow("proxy2")
	first.awaitStopped()
}
