package deployhook_test

import (
	"testing"
	"time"

	"portico/conf/sites"
	"portico/deployhook"
	"portico/membership/catalog"
)

// setClock makes every time that the catalog has of drains and former releases one of another clock: as if that of the proxy
// had been set by so much since they were ordered.
func (c *cluster) setClock(by time.Duration) {
	c.t.Helper()
	_, err := c.catalog.Update(c.t.Context(), func(tx *catalog.Tx) error {
		for name, m := range tx.View().Members {
			if m.Drain != nil {
				m, err := tx.Member(name)
				if err != nil {
					return err
				}
				order := *m.Drain
				order.Since, order.Deadline = order.Since.Add(-by), order.Deadline.Add(-by)
				m.Drain = &order
				if err := tx.PutMember(m); err != nil {
					return err
				}
			}
		}
		for name := range tx.View().Sites {
			s, err := tx.Site(name)
			if err != nil {
				return err
			}
			for i := range s.Retiring {
				s.Retiring[i].Since, s.Retiring[i].Deadline = s.Retiring[i].Since.Add(-by), s.Retiring[i].Deadline.Add(-by)
			}
			if err := tx.PutSite(s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// Deadlines are so many hours from when they were ordered. A clock that is set makes none of them come sooner: neither while the
// proxy runs nor at its next start, which has only what was written down.
func TestDeadlinesOutliveASetClock(t *testing.T) {
	for _, set := range []time.Duration{26 * time.Hour, -26 * time.Hour} {
		c := newCluster(t)
		c.join("web1")
		first := c.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded).Release
		c.hold(first, 3)
		c.deploy("shop", map[string]string{"index.html": "two"}, catalog.DeploySucceeded)
		order := catalog.DrainOrder{By: "ann", Since: time.Now().UTC(), Deadline: time.Now().Add(8 * time.Hour).UTC()}
		if err := c.Drain(t.Context(), deployhook.Target{Member: "web1"}, order); err != nil {
			t.Fatal(err)
		}
		for _, when := range []string{"running", "restarted"} {
			if when == "restarted" {
				c.stop()
				c.start()
			}
			c.setClock(set)
			c.hold(first, 3)
			c.eventually("the drains are looked at again", func() bool { return c.looks() > 6 })
			if told := c.outcomes(); len(told) != 0 {
				t.Errorf("set by %s while %s: %q", set, when, told)
			}
			if left := c.catalog.View().Sites["shop"].Retiring; len(left) != 1 {
				t.Errorf("set by %s while %s: former releases %+v", set, when, left)
			}
		}

		// And what is ordered now comes when its time is over, not a day later.
		order = catalog.DrainOrder{By: "ann", Since: time.Now().UTC(), Deadline: time.Now().Add(time.Second).UTC()}
		if err := c.Drain(t.Context(), deployhook.Target{Member: "web1"}, order); err != nil {
			t.Fatal(err)
		}
		c.setClock(-26 * time.Hour)
		c.eventually("the deadline has come", func() bool { return len(c.outcomes()) == 1 })
		c.stop()
	}
}

// A deploy has its time from when the controller saw it, whatever the clock showed when it was made.
func TestDeploysOutliveASetClock(t *testing.T) {
	for _, set := range []time.Duration{26 * time.Hour, -26 * time.Hour} {
		for _, away := range []bool{false, true} {
			step, over := string(catalog.StepFetching), catalog.DeployFailed
			if away {
				step = "-"
			}
			s := situation(sites.Settings{}, step)
			s.Deploy.Created = epoch.Add(-set)
			for i := range s.Servers {
				s.Servers[i].Changed = time.Time{}
			}
			if d := deployhook.Plan(s); d.State != catalog.DeployRunning {
				t.Errorf("set by %s, away %v: %s: %s", set, away, d.State, d.Error)
			}
			if s.Now = epoch.Add(10 * time.Minute); deployhook.Plan(s).State != over {
				t.Errorf("set by %s, away %v: it goes on for ever", set, away)
			}
		}
	}
}
