package deployhook_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/deployhook/wanted"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

func digest(c string) string { return strings.Repeat(c, 64) }

func TestWanted(t *testing.T) {
	c := newCluster(t)
	c.accept("web1", "web2")
	c.update(func(tx *catalog.Tx) error {
		for name, change := range map[string]func(*catalog.Member){
			"pending": func(m *catalog.Member) { m.Admission = catalog.Pending },
			"revoked": func(m *catalog.Member) { m.Admission = catalog.Revoked },
			"proxy":   func(m *catalog.Member) { m.Role = catalog.RoleProxy },
		} {
			m := catalog.Member{Name: name, ID: name, Role: catalog.RoleServer, Admission: catalog.Accepted, Admin: catalog.AdminReady, Addr: name + ":1", Fingerprint: digest("e")}
			change(&m)
			if err := tx.PutMember(m); err != nil {
				return err
			}
		}
		for _, r := range []string{"a", "b", "c", "d"} {
			if err := tx.PutRelease(catalog.Release{Site: "shop", Digest: digest(r), Manifest: sites.Settings{Front: sites.Front{Path: "/" + r}, Deploy: sites.Deploy{Before: []string{"x"}}}}); err != nil {
				return err
			}
		}
		deploy := catalog.Deploy{ID: "d1", Site: "shop", Release: digest("c"), State: catalog.DeployRunning, Members: map[string]catalog.MemberProgress{
			"web1": {Step: catalog.StepStarting}, "web2": {Step: catalog.StepWaiting},
		}}
		site := catalog.Site{
			Name: "shop", Release: digest("b"), Candidate: digest("c"), Deploy: "d1", Override: json.RawMessage(`{"strip":true}`),
			Retiring: []catalog.Retiring{{Release: digest("a"), Deadline: time.Now().Add(time.Hour)}, {Release: digest("f")}, {Release: digest("b")}},
		}
		if err := tx.PutDeploy(deploy); err != nil {
			return err
		}
		return tx.PutSite(site)
	})
	v := c.catalog.View()
	duties := func(w messages.Wanted) string {
		var list []string
		for _, r := range w.Releases {
			list = append(list, r.Release[:1]+"="+string(r.Duty))
		}
		return strings.Join(list, " ")
	}
	w := wanted.Of(v, "web1")
	if got := duties(w); got != "c=candidate b=current a=retiring" {
		t.Errorf("web1 should run %q", got)
	}
	first := w.Releases[0]
	if !first.Before || first.Deploy != "d1" || first.Settings.Path != "/c" || !first.Settings.Strip || first.Settings.Health.Rise == 0 {
		t.Errorf("the candidate is %+v", first)
	}
	if w.Releases[1].Before || w.Releases[1].Settings.Path != "/b" {
		t.Errorf("the current release is %+v", w.Releases[1])
	}
	if len(w.Servers) != 1 || w.Servers[0].Name != "web2" || len(w.Proxies) != 1 || w.Cluster == "" || w.Revision == 0 || len(w.Keep["shop"]) != 4 {
		t.Errorf("wanted is %+v", w)
	}
	if got := duties(wanted.Of(v, "web2")); got != "b=current a=retiring" {
		t.Errorf("web2, whose wave has not begun, should run %q", got)
	}
	// Once a second member has begun, nobody runs the before command any more.
	c.update(func(tx *catalog.Tx) error {
		d, err := tx.Deploy("d1")
		if err != nil {
			return err
		}
		d.Members = map[string]catalog.MemberProgress{"web1": {Step: catalog.StepInRotation}, "web2": {Step: catalog.StepFetching}}
		return tx.PutDeploy(d)
	})
	for _, m := range []string{"web1", "web2"} {
		if w := wanted.Of(c.catalog.View(), m); len(w.Releases) > 0 && w.Releases[0].Before {
			t.Errorf("%s would run the before command a second time", m)
		}
	}
	for _, nobody := range []string{"pending", "revoked", "proxy", "unknown", ""} {
		w := wanted.Of(v, nobody)
		if len(w.Releases)+len(w.Servers)+len(w.Proxies)+len(w.Keep) != 0 {
			t.Errorf("%q is told %+v", nobody, w)
		}
	}
	a, _ := json.Marshal(wanted.Of(v, "web1"))
	b, _ := json.Marshal(wanted.Of(v, "web1"))
	if !slices.Equal(a, b) {
		t.Error("the same view gave two answers")
	}
}
