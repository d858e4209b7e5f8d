package deployhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/deployhook/wanted"
	"portico/membership/catalog"
)

// churn makes changes of a small catalog by chance.
type churn struct {
	*rand.Rand
	tx *catalog.Tx
}

func (c churn) of(list ...string) string { return list[c.IntN(len(list))] }

func (c churn) site() string     { return fmt.Sprint("site-", c.IntN(4)) }
func (c churn) release() string  { return digest(c.of("a", "b", "c")) }
func (c churn) member() string   { return fmt.Sprint("web", c.IntN(4)) }
func (c churn) deploy() string   { return fmt.Sprint("d", c.IntN(5)) }
func (c churn) instance() string { return strings.Repeat(string(rune('a'+c.IntN(12))), 26) }

func (c churn) override() json.RawMessage {
	return json.RawMessage(c.of("", `{"strip":true}`, `{"servers":["gold"]}`, `{"servers":["web1","web2"]}`))
}

// churns are the kinds of change that the catalog sees.
var churns = []func(c churn) error{
	func(c churn) error { // an operator says something of one
		in, err := c.tx.Instance(c.instance())
		if err != nil {
			return nil
		}
		in.Admin = catalog.AdminState(c.of("ready", "drain", "maint"))
		return c.tx.PutInstance(in)
	},
	func(c churn) error {
		s := catalog.Site{Name: c.site(), Release: c.release(), Override: c.override(), Updated: time.Now()}
		if c.IntN(2) == 0 {
			s.Candidate, s.Deploy = c.release(), c.deploy()
		}
		for range c.IntN(3) {
			s.Retiring = append(s.Retiring, catalog.Retiring{Release: c.release()})
		}
		return c.tx.PutSite(s)
	},
	func(c churn) error { // nothing that a member is told
		s, err := c.tx.Site(c.site())
		if err != nil {
			return nil
		}
		s.Updated = time.Now()
		return c.tx.PutSite(s)
	},
	func(c churn) error {
		r := catalog.Release{Site: c.site(), Digest: c.release(), Manifest: sites.Settings{Front: sites.Front{Path: c.of("/x", "/y")}}}
		r.Manifest.Deploy.Before = []string{"x"}
		if c.IntN(3) == 0 {
			r.Manifest.Servers = []string{c.of("gold", "web0")}
		}
		return c.tx.PutRelease(r)
	},
	func(c churn) error {
		d := catalog.Deploy{ID: c.deploy(), Site: c.site(), Release: c.release(), State: catalog.DeployRunning, Members: map[string]catalog.MemberProgress{}}
		if c.IntN(2) == 0 {
			d.State = catalog.DeploySucceeded
		}
		for i := range 4 {
			step := c.of("", string(catalog.StepWaiting), string(catalog.StepStarting), string(catalog.StepHealthy))
			d.Members[fmt.Sprint("web", i)] = catalog.MemberProgress{Step: catalog.Step(step)}
		}
		return c.tx.PutDeploy(d)
	},
	func(c churn) error {
		name := c.member()
		m := catalog.Member{
			Name: name, ID: name, Role: catalog.RoleServer, Admission: catalog.Accepted, Addr: name + c.of(":1", ":1", ":2"), Fingerprint: digest("e"),
			Admin: catalog.AdminState(c.of("ready", "drain", "maint")), Version: c.of("1", "2"), Labels: []string{c.of("gold", "blue")},
		}
		switch c.IntN(8) {
		case 0:
			m.Admission = catalog.Admission(c.of(string(catalog.Pending), string(catalog.Revoked)))
		case 1:
			m.Role = catalog.RoleProxy
		}
		return c.tx.PutMember(m)
	},
	func(c churn) error { // an instance begins, or its agent or an operator says something of it
		state := c.of(string(catalog.InstanceStarting), string(catalog.InstanceHealthy), string(catalog.InstanceExited))
		return c.tx.PutInstance(catalog.Instance{
			ID: c.instance(), Site: c.site(), Release: c.release(), Member: c.member(), Leaving: c.IntN(4) == 0,
			State: catalog.InstanceState(state), Admin: catalog.AdminState(c.of("", "ready", "drain", "maint")), Port: c.IntN(3),
		})
	},
	func(c churn) error { c.tx.DeleteInstance(c.instance()); return nil },
	func(c churn) error {
		switch c.IntN(4) {
		case 0:
			c.tx.DeleteSite(c.site())
		case 1:
			c.tx.DeleteRelease(c.site(), c.release())
		case 2:
			c.tx.DeleteDeploy(c.deploy())
		case 3:
			c.tx.DeleteMember(c.member())
		}
		return nil
	},
}

// A waiting member hears of each change that concerns it: what is taken to be the same is the same when it is made from nothing.
func TestWaitingMembersMissNothing(t *testing.T) {
	c := openCatalog(t, t.TempDir(), "proxy", nil)
	t.Cleanup(func() { _ = c.Close() })
	r := rand.New(rand.NewPCG(3, 4))
	members := []string{"web0", "web1", "web2", "web3", "nobody"}
	views := []*catalog.View{c.View()}
	same, differ, idle, running := 0, 0, 0, 0
	for step := range 1500 {
		_, err := c.Update(context.Background(), func(tx *catalog.Tx) error {
			for range 1 + r.IntN(3)/2 {
				// Every second change is an operator's, which matters least often.
				if err := churns[r.IntN(2)*(1+r.IntN(len(churns)-1))](churn{r, tx}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		now := c.View()
		before := views[max(0, len(views)-1-r.IntN(2)*r.IntN(4))] // a member may have been away for some changes
		views = append(views, now)
		for _, m := range members {
			state := wanted.Of(now, m)
			running += len(state.Releases)
			equal := wanted.Sum(wanted.Of(before, m)) == wanted.Sum(state)
			switch said := new(wanted.News).Same(before, now, m); {
			case said && !equal:
				t.Fatalf("step %d: %s would not hear of its new wanted state", step, m)
			case said:
				same++
			case equal:
				idle++
			default:
				differ++
			}
		}
	}
	if same < 1000 || differ < 500 || idle > same/2 || running < 1000 {
		t.Errorf("the changes prove little: %d times the same, %d times another, %d times worked out for nothing, %d releases to run",
			same, differ, idle, running)
	}
}
