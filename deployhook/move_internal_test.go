package deployhook

import (
	"fmt"
	"log/slog"
	"maps"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// settledView is a view of n sites that belong everywhere, with four instances each.
func settledView(n int) *catalog.View {
	v := &catalog.View{
		Sites: map[string]*catalog.Site{}, Releases: map[string]map[string]*catalog.Release{},
		Instances: map[string]*catalog.Instance{}, Members: map[string]*catalog.Member{},
	}
	for i := range 4 {
		name := fmt.Sprint("app-", i)
		v.Members[name] = &catalog.Member{Name: name, Role: catalog.RoleServer, Admission: catalog.Accepted}
	}
	for i := range n {
		site := fmt.Sprint("s", i)
		v.Sites[site] = &catalog.Site{Name: site, Release: "r"}
		v.Releases[site] = map[string]*catalog.Release{"r": {Site: site, Digest: "r"}}
		for member := range v.Members {
			id := site + "-" + member
			v.Instances[id] = &catalog.Instance{ID: id, Site: site, Release: "r", Member: member, State: catalog.InstanceHealthy}
		}
	}
	return v
}

// changed is a view in which one site has another record.
func changed(v *catalog.View, site string, servers ...string) *catalog.View {
	next := *v
	next.Sites = maps.Clone(v.Sites)
	next.Sites[site] = &catalog.Site{Name: site, Release: "r"}
	if len(servers) > 0 {
		next.Sites[site].Override = fmt.Appendf(nil, `{"servers":[%q]}`, servers[0])
	}
	return &next
}

// At each change the settings of all instances' sites were worked out. Those of one site are, whatever number there is.
func TestMoveLooksAtWhatChanged(t *testing.T) {
	cost := func(n int) float64 {
		d, v := &Deployer{logger: slog.New(slog.DiscardHandler)}, settledView(n)
		views := []*catalog.View{v, changed(v, "s1")}
		d.move(v, time.Now())
		i := 0
		return testing.AllocsPerRun(20, func() {
			i++
			if d.move(views[i%2], time.Now()) {
				t.Error("something is to be moved")
			}
		})
	}
	if few, many := cost(20), cost(200); many > few+20 {
		t.Errorf("%.0f allocations among 20 sites, %.0f among 200", few, many)
	}
}

// Instances are looked at while their site belongs on some servers, by whatever makes it so, and while they are leaving.
func TestMovable(t *testing.T) {
	d, v := &Deployer{}, settledView(3)
	want := func(what string, v *catalog.View, n int) {
		t.Helper()
		if got := len(d.movable(v)); got != n {
			t.Errorf("%s: %d instances are looked at, want %d", what, got, n)
		}
	}
	want("sites that belong everywhere", v, 0)
	one := changed(v, "s1", "app-1")
	want("a site with servers", one, 4)
	want("the same again", one, 4)
	released := *v
	released.Releases = maps.Clone(v.Releases)
	released.Releases["s2"] = map[string]*catalog.Release{"r": {Site: "s2", Digest: "r", Manifest: sites.Settings{Servers: []string{"app-2"}}}}
	want("a release with servers", &released, 4)
	want("without them again", v, 0)
	leaving := *v
	leaving.Instances = maps.Clone(v.Instances)
	leaving.Instances["s0-app-1"] = &catalog.Instance{ID: "s0-app-1", Site: "s0", Release: "r", Leaving: true}
	want("an instance that leaves", &leaving, 1)
}

// BenchmarkMove is a turn of the controller with 5,000 sites and 20,000 instances.
func BenchmarkMove(b *testing.B) {
	d, v := &Deployer{logger: slog.New(slog.DiscardHandler)}, settledView(5000)
	views := []*catalog.View{v, changed(v, "s1")}
	for i := 0; b.Loop(); i++ {
		d.move(views[i%2], time.Now())
	}
}
