package command_test

import (
	"testing"
	"time"

	"portico/internal/units"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

// The progress of a drain is kept with it, over another order for the same drain, and
// goes with it: nobody writes it into a later one.
func TestProgressBelongsToItsDrain(t *testing.T) {
	c := open(t, t.TempDir())
	began := time.Now().UTC().Truncate(time.Second)
	progress := catalog.DrainProgress{Held: true, Moved: 3, Ended: began.Add(time.Minute)}
	id := ids.NewInstance()
	must := func(change func(tx *catalog.Tx) error) {
		t.Helper()
		if err := try(t, c, change); err != nil {
			t.Fatal(err)
		}
	}
	order := func(since time.Time, move time.Duration) {
		t.Helper()
		o := catalog.DrainOrder{Since: since, By: "ann", Move: units.Duration(move)}
		must(func(tx *catalog.Tx) error { _, err := command.DrainMember(tx, "web1", o); return err })
		must(func(tx *catalog.Tx) error {
			_, err := command.SetInstanceAdmin(tx, "shop", id, catalog.AdminDrain, o)
			return err
		})
	}
	note := func(since time.Time) {
		t.Helper()
		must(func(tx *catalog.Tx) error {
			return command.NoteDrain(tx, "web1", "", "", "", catalog.DrainOrder{Since: since}, progress)
		})
		must(func(tx *catalog.Tx) error {
			return command.NoteDrain(tx, "web1", "shop", id, digest("a"), catalog.DrainOrder{Since: since}, progress)
		})
		must(func(tx *catalog.Tx) error {
			return command.NoteDrain(tx, "", "shop", "", digest("a"), catalog.DrainOrder{Since: since, Deadline: c.View().Sites["shop"].Retiring[0].Deadline}, progress)
		})
	}
	check := func(what string, want catalog.DrainProgress) {
		t.Helper()
		v := c.View()
		if got := v.Members["web1"].Drain.DrainProgress; !got.Equal(want) {
			t.Errorf("%s: the member's is %+v", what, got)
		}
		if got := v.Instances[id].Drain.DrainProgress; !got.Equal(want) {
			t.Errorf("%s: the instance's is %+v", what, got)
		}
		if got := v.Sites["shop"].Retiring[0].Moved; got != want.Moved {
			t.Errorf("%s: the release's is %d", what, got)
		}
	}
	must(func(tx *catalog.Tx) error {
		return tx.PutMember(catalog.Member{Name: "web1", ID: "web1", Role: catalog.RoleServer, Admission: catalog.Accepted, Admin: catalog.AdminReady})
	})
	must(func(tx *catalog.Tx) error {
		return tx.PutSite(catalog.Site{Name: "shop", Retiring: []catalog.Retiring{{Release: digest("a"), Since: began, Deadline: began.Add(time.Hour)}}})
	})
	must(func(tx *catalog.Tx) error {
		return tx.PutInstance(catalog.Instance{ID: id, Site: "shop", Release: digest("a"), Member: "web1", State: catalog.InstanceHealthy})
	})

	order(began, 0)
	note(began.Add(-time.Hour))
	check("of another drain", catalog.DrainProgress{})
	note(began)
	check("of this drain", progress)
	order(began.Add(time.Second), time.Minute)
	check("after a second order", progress)
	if !c.View().Members["web1"].Drain.Since.Equal(began) {
		t.Error("a second order changed the beginning")
	}
	must(func(tx *catalog.Tx) error {
		_, err := command.SetMemberAdmin(tx, "web1", catalog.AdminReady)
		return err
	})
	must(func(tx *catalog.Tx) error {
		return command.NoteDrain(tx, "web1", "", "", "", catalog.DrainOrder{Since: began}, progress)
	})
	if m := c.View().Members["web1"]; m.Drain != nil {
		t.Errorf("a drain that is over came back: %+v", m.Drain)
	}
	must(func(tx *catalog.Tx) error {
		return command.NoteDrain(tx, "nobody", "", "", "", catalog.DrainOrder{Since: began}, progress)
	})
}

// A deadline cuts the drain that it belongs to and no other, and is told apart from
// what an operator wants.
func TestDeadlineCutsItsDrain(t *testing.T) {
	c := open(t, t.TempDir())
	began := time.Now().UTC().Truncate(time.Second)
	id := ids.NewInstance()
	must := func(change func(tx *catalog.Tx) error) {
		t.Helper()
		if err := try(t, c, change); err != nil {
			t.Fatal(err)
		}
	}
	member := func(state catalog.AdminState) {
		t.Helper()
		must(func(tx *catalog.Tx) error { _, err := command.SetMemberAdmin(tx, "web1", state); return err })
	}
	cut := func(since time.Time) {
		t.Helper()
		must(func(tx *catalog.Tx) error { return command.CutDrain(tx, "web1", "", since) })
		must(func(tx *catalog.Tx) error { return command.CutDrain(tx, "web1", id, since) })
	}
	check := func(what string, state catalog.AdminState, overdue bool) {
		t.Helper()
		v := c.View()
		if m := v.Members["web1"]; m.Admin != state || m.Overdue != overdue {
			t.Errorf("%s: the member is %q, overdue %v", what, m.Admin, m.Overdue)
		}
		if in := v.Instances[id]; in.Admin != state || in.Overdue != overdue {
			t.Errorf("%s: the instance is %q, overdue %v", what, in.Admin, in.Overdue)
		}
	}
	must(func(tx *catalog.Tx) error {
		return tx.PutMember(catalog.Member{Name: "web1", ID: "web1", Role: catalog.RoleServer, Admission: catalog.Accepted, Admin: catalog.AdminReady})
	})
	must(func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "shop"}) })
	must(func(tx *catalog.Tx) error {
		return tx.PutInstance(catalog.Instance{ID: id, Site: "shop", Release: digest("a"), Member: "web1", State: catalog.InstanceHealthy})
	})
	order := catalog.DrainOrder{Since: began, By: "ann", Deadline: began.Add(time.Minute)}
	instance := func(state catalog.AdminState, o catalog.DrainOrder) {
		t.Helper()
		must(func(tx *catalog.Tx) error { _, err := command.SetInstanceAdmin(tx, "shop", id, state, o); return err })
	}
	drain := func() {
		t.Helper()
		must(func(tx *catalog.Tx) error { _, err := command.DrainMember(tx, "web1", order); return err })
		instance(catalog.AdminDrain, order)
	}
	drain()
	cut(began.Add(-time.Hour))
	check("another drain's deadline", catalog.AdminDrain, false)
	cut(began)
	check("its deadline", catalog.AdminMaint, true)
	report := messages.Report{Instances: []messages.InstanceReport{{Instance: catalog.Instance{ID: id, Site: "shop", Release: digest("a"), State: catalog.InstanceFailing}}}}
	must(func(tx *catalog.Tx) error { return command.ApplyReport(tx, "web1", report) })
	check("after a report of its agent", catalog.AdminMaint, true)
	member(catalog.AdminMaint)
	instance(catalog.AdminMaint, catalog.DrainOrder{})
	check("by hand", catalog.AdminMaint, false)
	cut(began)
	check("a deadline that comes too late", catalog.AdminMaint, false)
	drain()
	cut(began)
	drain()
	check("drained again", catalog.AdminDrain, false)
	must(func(tx *catalog.Tx) error { return command.CutDrain(tx, "nobody", "", began) })
}
