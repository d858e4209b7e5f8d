package deployhook_test

import (
	"strings"
	"testing"
	"time"

	"portico/deployhook"
	"portico/internal/units"
	"portico/membership/catalog"
)

// A proxy that restarts in the middle of a drain goes on with it: what was moved
// before counts, and the outcome is told once, whenever the last session ended.
func TestDrainGoesOnAfterRestart(t *testing.T) {
	known, moves := true, 2
	options := func(o *deployhook.Options) {
		load := o.Load
		o.Load = func(id string) (int, int, bool) {
			sessions, requests, _ := load(id)
			return sessions, requests, known
		}
		o.MoveQuiet = func([]*catalog.Instance, time.Duration) int { n := moves; moves = 0; return n }
	}
	c := newCluster(t, options)
	c.join("web1")
	d := c.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
	c.hold(d.Release, 3)
	if err := c.Drain(t.Context(), deployhook.Target{Member: "web1"}, catalog.DrainOrder{By: "ann", Move: units.Duration(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the progress is written down", func() bool {
		m := c.catalog.View().Members["web1"]
		return m.Drain != nil && m.Drain.Held && m.Drain.Moved == 2
	})

	c.stop()
	c.hold(d.Release, 0) // the last session ends in the first moment after the restart
	c.start(options)
	c.eventually("the outcome is told", func() bool { return len(c.outcomes()) > 0 })
	c.stop()
	c.start(options)
	list := c.Drains()
	if len(list) != 1 || list[0].Ended.IsZero() || list[0].Moved != 2 {
		t.Errorf("%+v", list)
	}
	for _, sessions := range []int{1, 0} { // somebody came by an old cookie, and went
		c.hold(d.Release, sessions)
		if err := c.Drain(t.Context(), deployhook.Target{Member: "web1"}, catalog.DrainOrder{By: "ann"}); err != nil {
			t.Fatal(err)
		}
		c.eventually("the controller has looked", func() bool { return c.looks() > 0 })
	}
	if told := c.outcomes(); len(told) != 1 || !strings.Contains(told[0], "2 sessions were marked to move") {
		t.Errorf("told %q", told)
	}
}

// While the proxy counts anew it does not say that nobody was left.
func TestDeadlineWhileCountingAnew(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	c.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
	c.stop()
	c.start() // its table is younger than the instance
	order := catalog.DrainOrder{By: "ann", Since: time.Now().UTC(), Deadline: time.Now().Add(100 * time.Millisecond).UTC()}
	if err := c.Drain(t.Context(), deployhook.Target{Member: "web1"}, order); err != nil {
		t.Fatal(err)
	}
	c.eventually("the outcome is told", func() bool { return len(c.outcomes()) > 0 })
	if told := c.outcomes(); !strings.Contains(told[0], "with at least 0 sessions left") {
		t.Errorf("told %q", told)
	}
}

// hold makes every instance of a release hold n sessions.
func (c *cluster) hold(release string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, in := range c.catalog.View().Instances {
		if in.Release == release {
			c.load[id] = [2]int{n, 0}
			c.looked[id] = 0
		}
	}
}

// looks is how often the deployer has asked for the load of the instance that it
// asked for least, since hold.
func (c *cluster) looks() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	least := 1 << 30
	for id := range c.load {
		least = min(least, c.looked[id])
	}
	return least
}

// outcomes are those of drains, as the audit tells them.
func (c *cluster) outcomes() (list []string) {
	c.t.Helper()
	audit, err := c.catalog.Audit(c.t.Context(), 100)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, e := range audit {
		if e.Action == "drain ended" {
			list = append(list, e.Detail)
		}
	}
	return list
}

// A drain whose instance fails is told as what it is: the sessions that were there are
// lost, whether the process exits, its record goes at once, or the checks say so first.
func TestDrainOfWhatFails(t *testing.T) {
	failed := map[string]string{}
	c := newCluster(t)
	c.stop()
	c.start(func(o *deployhook.Options) {
		o.Failed = func(id string) string { c.mu.Lock(); defer c.mu.Unlock(); return failed[id] }
	})
	c.join("web1", "web2")
	d := c.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
	drain := func(target deployhook.Target) {
		t.Helper()
		c.hold(d.Release, 3)
		if err := c.Drain(t.Context(), target, catalog.DrainOrder{By: "ann"}); err != nil {
			t.Fatal(err)
		}
		c.eventually("the controller has seen the sessions", func() bool {
			list := c.Drains()
			return len(list) == 1 && list[0].Held
		})
	}
	last := func(n int) deployhook.EndedDrain {
		t.Helper()
		c.eventually("the outcome is told", func() bool { return len(c.EndedDrains()) == n })
		return c.EndedDrains()[0]
	}
	exit := func(member string, state catalog.InstanceState) {
		c.agent(member).change(func(a *agent) {
			for key, in := range a.run {
				if in.State = state; state == "" {
					delete(a.run, key)
				}
			}
		})
	}

	id := c.instanceOf("web1", d.Release)
	drain(deployhook.Target{Site: "shop", Instance: id})
	exit("web1", catalog.InstanceExited)
	if o := last(1); o.How != "instance-exited" || o.Lost != 3 || o.Object != "shop/"+id || o.Site != "shop" || !strings.HasPrefix(o.Text, "instance exited: 3 sessions lost; nothing is left after ") {
		t.Errorf("an exit: %+v", o)
	}
	exit("web1", "") // another process follows
	c.eventually("it runs again", func() bool { now := c.instanceOf("web1", d.Release); return now != "" && now != id })

	id = c.instanceOf("web1", d.Release)
	drain(deployhook.Target{Site: "shop", Instance: id})
	exit("web1", "")
	if o := last(2); o.How != "instance-exited" || o.Lost != 3 || o.Object != "shop/"+id {
		t.Errorf("a record that goes at once: %+v", o)
	}

	drain(deployhook.Target{Member: "web2"})
	fail := func(cause string, left int) {
		c.hold(d.Release, left)
		c.mu.Lock()
		failed[c.instanceOf("web2", d.Release)] = cause
		c.mu.Unlock()
	}
	lost := func(n int) func() bool {
		return func() bool { list := c.Drains(); return len(list) == 1 && list[0].Lost == n }
	}
	c.mu.Lock()
	failed[c.instanceOf("web2", d.Release)] = "network"
	c.mu.Unlock()
	c.eventually("all three may be lost", lost(3))
	fail("", 2)
	c.eventually("it is back, and one was lost meanwhile", lost(1))
	fail("", 0)
	if o := last(3); o.How != "network" || o.Lost != 1 || o.Object != "web2" || o.Site != "" {
		t.Errorf("a failure that passed: %+v", o)
	}
	audit, err := c.catalog.Audit(t.Context(), 1)
	if err != nil || len(audit) != 1 || audit[0].Drain == nil || audit[0].Drain.How != "network" || audit[0].Drain.Lost != 1 || audit[0].Drain.Since.IsZero() {
		t.Errorf("the audit has %+v, %v", audit, err)
	}
}
