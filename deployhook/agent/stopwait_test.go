package agent_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"portico/deployhook/agent"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// withTwo starts an agent of two proxies with one instance, which nothing wants any more.
func withTwo(t *testing.T) (first, second *cluster, still func()) {
	t.Helper()
	first, second, _, _, still = withTwoOn(t)
	return first, second, still
}

// withTwoOn is withTwo, with the agent and the instance.
func withTwoOn(t *testing.T) (first, second *cluster, a *agent.Agent, id string, still func()) {
	t.Helper()
	first = newCluster(t)
	second = newClusterOf(t, first.ca)
	first.stopOK, second.stopOK = false, false
	o := first.options(t.TempDir())
	o.SetStopWait(waitTime)
	o.Identify = identify(func(string) bool { return false })
	a = first.start(o)
	rel := first.serverRelease("1")
	both := []messages.Peer{first.peer(), {Name: "proxy2", Addr: second.peer().Addr}}
	first.update(func(w *messages.Wanted) {
		w.Proxies, w.Releases = both, []messages.WantedRelease{current("shop", rel, runSettings())}
	})
	inst := first.awaitHealthy(rel)
	second.await("the other proxy gets a copy", func(r messages.Report) bool { return r.Copy && len(r.Instances) == 1 })
	client := first.via(a.Addr(), inst.ID+".instance")
	first.update(func(w *messages.Wanted) { w.Proxies, w.Releases = both, nil })
	first.awaitInstance("asks to stop", rel, func(i messages.InstanceReport) bool {
		return i.Progress.Step == catalog.StepStopped && i.State == catalog.InstanceHealthy
	})
	return first, second, a, inst.ID, func() {
		t.Helper()
		asks := 0
		first.await("asks again and again", func(r messages.Report) bool { asks++; return asks > 3 })
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
	c.await("stopped", func(r messages.Report) bool { return len(r.Instances) == 0 })
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

// A proxy that this machine's reports do not reach lives while it uses a connection that it has already, and while it
// answers a doubt by a check: with a long health.interval it would not connect by itself.
func TestProxyThatIsNotReachedLives(t *testing.T) {
	first, second, a, id, _ := withTwoOn(t)
	second.mu.Lock()
	second.down = true
	second.mu.Unlock()
	conn := first.dial(t, a.Addr().String(), "proxy2", id+".instance")
	in := bufio.NewReader(conn)
	ask := func() {
		t.Helper()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		before := a.Heard("proxy2")
		ask()
		eventually(t, "a request on the kept connection is a sign of life", func() bool { return a.Heard("proxy2").After(before) })
	}
	eventually(t, "a connection without traffic is none", func() bool {
		before := a.Heard("proxy2")
		a.NoteMoved()
		return a.Heard("proxy2").Equal(before)
	})
	told := first.told(a.Addr().String())
	for range 2 {
		told.await("a doubt of an instance that wants to stop", func(x messages.CheckResult) bool { return x.ID == id && !x.OK && x.Code == "" })
	}
	first.allow("proxy2")
	first.awaitStopped()
}
