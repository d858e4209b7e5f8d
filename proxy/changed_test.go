package proxy_test

import (
	"crypto/tls"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"portico/conf"
	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/proxy"
)

// TestChangesAddUp changes the view and the configuration file at random, a little at a time. A proxy that has seen each change serves what
// one serves that begins with the last.
func TestChangesAddUp(t *testing.T) {
	t.Parallel()
	s := unserved(t)
	d := &drawn{r: rand.New(rand.NewPCG(5, 6)), view: &catalog.View{
		Sites: map[string]*catalog.Site{}, Members: map[string]*catalog.Member{}, Instances: map[string]*catalog.Instance{},
		Releases: map[string]map[string]*catalog.Release{},
	}}
	for step := range 400 {
		if d.r.IntN(5) == 0 {
			d.file()
			s.SetStatic(d.statics)
		} else {
			d.catalog()
			s.Update(d.view)
		}
		if step%3 > 0 {
			continue
		}
		fresh := unserved(t)
		fresh.SetStatic(d.statics)
		fresh.Update(d.view)
		if got, want := s.Served(), fresh.Served(); got != want {
			t.Fatalf("after step %d:\n%s\na proxy that begins now:\n%s", step, got, want)
		}
	}
}

// unserved is a proxy that takes updates and has no visitors.
func unserved(t *testing.T) *proxy.Server {
	o := options()
	o.AgentTLS = func(string) *tls.Config { return &tls.Config{} }
	s, err := proxy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(t.Context()) })
	return s
}

// drawn is what a proxy is told, and changes at random.
type drawn struct {
	r       *rand.Rand
	view    *catalog.View
	statics []conf.Site
}

func (d *drawn) name(of string) string { return fmt.Sprint(of, d.r.IntN(6)) }

func (d *drawn) host() string {
	return []string{"a.test", "b.test", "c.test", "*.test", "x.a.test"}[d.r.IntN(5)]
}

// catalog makes the next view, which shares with the one before what has not changed.
func (d *drawn) catalog() {
	v := *d.view
	v.Revision++
	for range 1 + d.r.IntN(3) {
		switch d.r.IntN(6) {
		case 0, 1:
			v.Sites = maps.Clone(v.Sites)
			d.site(&v)
		case 2:
			v.Members = maps.Clone(v.Members)
			d.member(&v)
		case 3:
			v.Releases = maps.Clone(v.Releases)
			name := d.name("site")
			of := maps.Clone(v.Releases[name])
			if of == nil {
				of = map[string]*catalog.Release{}
			}
			digest := d.name("r")
			of[digest] = &catalog.Release{Manifest: sites.Settings{Front: sites.Front{Protocol: []string{"", sites.ProtocolH2C}[d.r.IntN(2)], Hosts: []string{"a.test"}}}}
			v.Releases[name] = of
		default:
			v.Instances = maps.Clone(v.Instances)
			d.instance(&v)
		}
	}
	d.view = &v
}

func (d *drawn) site(v *catalog.View) {
	name := d.name("site")
	if d.r.IntN(4) == 0 {
		delete(v.Sites, name)
		return
	}
	rec := &catalog.Site{Name: name, Release: d.name("r"), Candidate: d.name("r")}
	rec.Manifest.Hosts = []string{d.host(), d.host()}
	rec.Manifest.Path = []string{"", "/app"}[d.r.IntN(2)]
	if d.r.IntN(2) == 0 {
		rec.Manifest.Session.Adopt = "JSESSIONID"
	}
	v.Sites[name] = rec
}

func (d *drawn) member(v *catalog.View) {
	name := d.name("member")
	if d.r.IntN(4) == 0 {
		delete(v.Members, name)
		return
	}
	m := catalog.Member{Name: name, Admission: catalog.Accepted, Addr: "127.0.0.1:1", Admin: catalog.AdminReady}
	if was := v.Members[name]; was != nil {
		m = *was
	}
	switch d.r.IntN(7) { // one thing at a time
	case 0:
		m.Admission = []catalog.Admission{catalog.Accepted, catalog.Pending}[d.r.IntN(2)]
	case 1:
		m.Fingerprint = d.name("key")
	case 2:
		m.Weight = d.r.IntN(3)
	case 3:
		m.Zone = d.name("zone")
	case 4:
		m.Admin = []catalog.AdminState{catalog.AdminReady, catalog.AdminDrain, catalog.AdminMaint}[d.r.IntN(3)]
	case 5:
		m.Addr = fmt.Sprint("127.0.0.1:", 1+d.r.IntN(3))
	default:
		m.Labels = []string{d.name("label")}
	}
	v.Members[name] = &m
}

func (d *drawn) instance(v *catalog.View) {
	id := fmt.Sprint("instance", d.r.IntN(20))
	if d.r.IntN(4) == 0 {
		delete(v.Instances, id)
		return
	}
	v.Instances[id] = &catalog.Instance{
		ID: id, Site: d.name("site"), Release: d.name("r"), Member: d.name("member"), Port: d.r.IntN(3),
		State: []catalog.InstanceState{catalog.InstanceHealthy, catalog.InstanceFailing, catalog.InstanceExited, catalog.InstanceStarting}[d.r.IntN(4)],
	}
}

// file makes the next configuration file.
func (d *drawn) file() {
	var list []conf.Site
	for _, c := range d.statics {
		if d.r.IntN(4) > 0 {
			list = append(list, c)
		}
	}
	name := d.name("site")
	for i := range list {
		if list[i].Name == name {
			list[i].Path = []string{"", "/file"}[d.r.IntN(2)]
			d.statics = list
			return
		}
	}
	c := site("127.0.0.1:1")
	c.Name, c.Hosts = name, []string{d.host()}
	d.statics = append(list, c)
}
