package tests

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/tests/harness"
)

// A hundred visitors while an application server dies, of a site that waits for it only for as long as a
// request may wait: every idempotent request succeeds, only the dead server's visitors move, each once, each
// told, and they stay when the server comes back.
func TestServerDiesUnderVisitors(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	agents := map[string]*harness.Agent{}
	for _, name := range []string{"server-1", "server-2", "server-3"} {
		agents[name] = p.AddServer(name)
	}
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	p.Must("sites", "set", "node", "session.patience=1s")
	vs, seen := visitors(t, p.HTTP, "node.test", "/", 100)

	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var requests, failures atomic.Int64
	trails := make([][]harness.Visit, len(vs))
	for i, v := range vs {
		trails[i] = []harness.Visit{seen[i]}
		wg.Go(func() {
			for ctx.Err() == nil {
				visit, err := v.Try("/")
				requests.Add(1)
				if err != nil {
					failures.Add(1)
					t.Errorf("visitor %d: %v", i, err)
					return
				}
				trails[i] = append(trails[i], visit)
				<-time.After(20 * time.Millisecond)
			}
		})
	}
	<-time.After(time.Second)
	dead := seen[0].Server
	agents[dead].KillWithSites()
	<-time.After(3 * time.Second)
	agents[dead].Restart()
	settled(t, p, "node", 3)
	<-time.After(time.Second)
	cancel()
	wg.Wait()

	t.Logf("%d requests, %d failed", requests.Load(), failures.Load())
	for i, trail := range trails {
		checkTrail(t, i, trail, dead)
	}
}

func checkTrail(t *testing.T, i int, trail []harness.Visit, dead string) {
	t.Helper()
	moves, told := 0, 0
	for k := 1; k < len(trail); k++ {
		if trail[k].Lost != "" {
			told++
		}
		if trail[k].Server != trail[k-1].Server {
			moves++
			if trail[k-1].Server != dead {
				t.Errorf("visitor %d moved from %s, which lives, to %s", i, trail[k-1].Server, trail[k].Server)
			}
		} else if trail[k].Views != trail[k-1].Views+1 {
			t.Errorf("visitor %d lost a counter on %s: %d after %d", i, trail[k].Server, trail[k].Views, trail[k-1].Views)
		}
	}
	want := 0
	if trail[0].Server == dead {
		want = 1
	}
	if moves != want || told != want {
		t.Errorf("visitor %d of %s moved %d times and was told %d times, want %d", i, trail[0].Server, moves, told, want)
	}
}

// drain keeps sessions and takes no new ones, maint takes nothing, ready undoes both.
func TestDrainMaintReady(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	vs, seen := visitors(t, p.HTTP, "node.test", "/", 20)

	p.Must("drain", "server-1")
	stay(t, vs, seen, "/")
	if _, fresh := visitors(t, p.HTTP, "node.test", "/", 10); spread(fresh)["server-1"] != 0 {
		t.Errorf("a draining server got new visitors: %v", spread(fresh))
	}
	p.Must("maint", "server-1", "--yes")
	for i, v := range vs {
		got := v.Get("/")
		if got.Server != "server-2" {
			t.Errorf("a visitor is on %s, which is in maintenance", got.Server)
		}
		if seen[i].Server == "server-1" && got.Lost == "" {
			t.Error("a visitor of the server in maintenance was not told that the session is lost")
		}
	}
	p.Must("ready", "server-1")
	settled(t, p, "node", 2)
	if _, fresh := visitors(t, p.HTTP, "node.test", "/", 20); spread(fresh)["server-1"] == 0 {
		t.Error("a ready server gets no visitors")
	}
	for _, v := range vs {
		if got := v.Get("/"); got.Server != "server-2" {
			t.Error("a visitor who moved flipped back")
		}
	}
}

// The proxy may die at any moment: what was acknowledged is there again, every
// pin holds, and an agent brings its sites back without the proxy.
func TestItLasts(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	a1 := p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	vs, seen := visitors(t, p.HTTP, "node.test", "/", 20)

	p.Kill()
	p.Restart()
	p.WaitReady()
	settled(t, p, "node", 2)
	stay(t, vs, seen, "/")

	// A restart of the agent alone leaves the processes and their sessions.
	a1.Kill()
	a1.Restart()
	settled(t, p, "node", 2)
	stay(t, vs, seen, "/")

	// Without the proxy, a machine that was switched off brings its sites back.
	p.Kill()
	a1.KillWithSites()
	a1.Restart()
	harness.Eventually(t, time.Minute, logged(a1.Process, "instance healthy"))
	p.Restart()
	p.WaitReady()
	settled(t, p, "node", 2)
	if resp, _, err := harness.NewVisitor(t, p.HTTP, "node.test").Do(http.MethodGet, "/", nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("after all that the site answers %v %v", resp, err)
	}
}
