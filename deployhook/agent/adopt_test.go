//go:build linux

package agent_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"portico/deployhook/agent"
	"portico/deployhook/agent/state"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// processesOf returns the processes of a state directory's sites.
func processesOf(t *testing.T, dir string) []int {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(b), "PORTICO_DATA_DIR="+dir+"/") {
			pid, _ := strconv.Atoi(strings.Split(name, "/")[2])
			if running(pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// TestAdopt: an agent that is killed leaves its sites running; the next one takes
// them over under the same instance ids, without a proxy, starts nothing twice,
// notices when they end, and can stop them (G5).
func TestAdopt(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	first := c.startChild(t, dir, true)
	rel := c.serverRelease("1")
	c.want(current("shop", rel, runSettings()), current("blog", rel, runSettings()))
	shop := c.awaitInstance("shop healthy", rel, func(i messages.InstanceReport) bool {
		return i.Site == "shop" && i.State == catalog.InstanceHealthy
	})
	c.awaitInstance("blog healthy", rel, func(i messages.InstanceReport) bool {
		return i.Site == "blog" && i.State == catalog.InstanceHealthy
	})
	before := get(t, c.via(first.addr, shop.ID+".instance"), "/")
	pids := processesOf(t, dir)
	first.kill()
	if now := processesOf(t, dir); !slices.Equal(now, pids) || len(pids) != 2 {
		t.Fatalf("processes are %v, they were %v", now, pids)
	}

	second := c.startChild(t, dir, false) // cut off: no proxy is known to it but those of the last state
	c.mu.Lock()
	c.down = true
	c.mu.Unlock()
	client := c.via(second.addr, shop.ID+".instance")
	var body string
	eventually(t, "the instance answers through the second agent", func() bool {
		res, err := client.Get("https://shop.example/")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		b := make([]byte, 200)
		n, _ := res.Body.Read(b)
		body = string(b[:n])
		return true
	})
	if pidOf(t, body) != pidOf(t, before) {
		t.Errorf("another process answers: %q, before %q", body, before)
	}
	if now := processesOf(t, dir); !slices.Equal(now, pids) {
		t.Errorf("processes are %v, they were %v: something was started twice", now, pids)
	}

	// The adopted process ends: another instance takes its place.
	c.mu.Lock()
	c.down = false
	c.mu.Unlock()
	_, _ = client.Get("https://shop.example/exit?code=1")
	again := c.awaitInstance("a new instance", rel, func(i messages.InstanceReport) bool {
		return i.Site == "shop" && i.State == catalog.InstanceHealthy && i.ID != shop.ID
	})
	if body := get(t, c.via(second.addr, again.ID+".instance"), "/"); !strings.HasPrefix(body, again.ID) {
		t.Errorf("the new instance says %q", body)
	}

	second.stop(t)
	if left := processesOf(t, dir); len(left) != 0 {
		t.Errorf("after an orderly end %v run", left)
	}
}

// TestRestart: after an orderly end, a new agent brings the sites back without a
// proxy, as new instances.
func TestRestart(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	_, stop := c.startStop(c.options(dir))
	rel := c.serverRelease("1")
	c.want(current("shop", rel, runSettings()))
	inst := c.awaitHealthy(rel)
	stop()
	if left := processesOf(t, dir); len(left) != 0 {
		t.Fatalf("after an orderly end %v run", left)
	}
	c.mu.Lock()
	last := c.reports[len(c.reports)-1]
	c.reports = nil
	c.down = true
	c.mu.Unlock()
	if len(last.Instances) != 0 {
		t.Errorf("the last report still names %+v", last.Instances)
	}
	c.start(c.options(dir))
	eventually(t, "the site runs", func() bool { return len(processesOf(t, dir)) == 1 })
	c.mu.Lock()
	c.down = false
	c.mu.Unlock()
	if again := c.awaitHealthy(rel); again.ID == inst.ID {
		t.Error("a new process has the id of the old one")
	}
}

// TestStray: a process that no record knows, because its agent was killed before
// it could write one, is killed by the next agent.
func TestStray(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	first := c.startChild(t, dir, true)
	rel := c.serverRelease("1")
	c.want(current("shop", rel, runSettings()))
	c.awaitHealthy(rel)
	first.kill()
	pids := processesOf(t, dir)
	if len(pids) != 1 {
		t.Fatalf("processes are %v", pids)
	}
	if err := os.Remove(filepath.Join(dir, "agent", "state.json")); err != nil {
		t.Fatal(err)
	}
	c.start(c.options(dir))
	eventually(t, "the stray is gone", func() bool { return !running(pids[0]) })
	eventually(t, "one process runs", func() bool { return len(processesOf(t, dir)) == 1 })
}

// TestLocked: a second agent on the same directory is refused.
func TestLocked(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	c.start(c.options(dir))
	_, err := agent.New(c.options(dir))
	if err == nil || !strings.Contains(err.Error(), state.ErrLocked.Error()) {
		t.Errorf("the second agent: %v", err)
	}
}

// onMessage calls then when a message is logged.
type onMessage struct {
	slog.Handler
	message string
	then    func()
}

func (h onMessage) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == h.message {
		h.then()
	}
	return h.Handler.Handle(ctx, r)
}

// TestEndRightAfterTheStart: an agent that is told to end its sites while it still finds what the one
// before it left ends those as well.
func TestEndRightAfterTheStart(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	first := c.startChild(t, dir, true)
	rel := c.serverRelease("1")
	c.want(current("shop", rel, runSettings()))
	c.awaitHealthy(rel)
	first.kill()
	o := c.options(dir)
	ended := make(chan error, 1)
	var a *agent.Agent
	o.Logger = slog.New(onMessage{o.Logger.Handler(), "instance adopted", func() {
		go func() { ended <- a.Shutdown(context.Background()) }()
		time.Sleep(50 * time.Millisecond) // a Shutdown that waits shows nothing; were this too short, the fault would be missed, not made up
	}})
	a, err := agent.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Serve(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if left := processesOf(t, dir); len(left) != 0 {
		t.Errorf("%v run on", left)
	}
}
