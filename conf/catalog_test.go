package conf_test

import (
	"testing"
	"time"

	"portico/conf"
	"portico/conf/sites"
	"portico/internal/units"
)

// A static site takes what an installed one takes: the sections convert, and
// the same policies are known. The import is the test's alone.
func TestStaticSitesMatchTheCatalog(t *testing.T) {
	_ = sites.Health(conf.Health{})
	_ = sites.Session(conf.Session{})
	_ = sites.TLS(conf.SiteTLS{})
	for _, p := range append(sites.Policies(), "roundrobin") {
		c := conf.Default()
		c.Sites = []conf.Site{{Name: "shop", Policy: p, PolicyHeader: "X-Tenant", Upstreams: []conf.Upstream{{Name: "one", Addr: "192.0.2.1:80"}}}}
		if err := c.Validate(); (err != nil) != (p == "roundrobin") {
			t.Errorf("policy %q: %v", p, err)
		}
	}
	for _, p := range append(sites.Profiles(), "", "cookie:SID query:sid", "tomcta", "cookie:", "jar:SID") {
		c := conf.Default()
		c.Sites = []conf.Site{{Name: "shop", Session: conf.Session{Profile: p}, Upstreams: []conf.Upstream{{Name: "one", Addr: "192.0.2.1:80"}}}}
		if here, there := c.Validate(), sites.CheckProfile(p); (here != nil) != (there != nil) {
			t.Errorf("profile %q: the file says %v, the catalog %v", p, here, there)
		}
	}
}

// TestPlacementMatchesTheCatalog: what the file refuses of a site's placement, the catalog refuses too.
func TestPlacementMatchesTheCatalog(t *testing.T) {
	f := func(policy, header string, bound int, slow time.Duration, wrong bool) {
		t.Helper()
		c := conf.Default()
		c.Sites = []conf.Site{{Name: "shop", Policy: policy, PolicyHeader: header, PolicyBound: bound, SlowStart: units.Duration(slow),
			Upstreams: []conf.Upstream{{Name: "one", Addr: "192.0.2.1:80"}}}}
		here := c.Validate()
		there := sites.Settings{Policy: policy, PolicyHeader: header, PolicyBound: bound, SlowStart: units.Duration(slow)}.Validate()
		if (here != nil) != wrong || (len(there) > 0) != wrong {
			t.Errorf("%s, %q, %d, %s: the file says %v, the catalog %v", policy, header, bound, slow, here, there)
		}
	}
	f("header", "X-Tenant", 0, 0, false)
	f("header", "", 0, 0, true)
	f("header", "X-Tenant:", 0, 0, true)
	f("header", "X Tenant", 0, 0, true)
	f("uri", "", 125, time.Minute, false)
	f("uri", "", 100, 0, true)
	f("uri", "", -1, 0, true)
	f("uri", "", 0, 2*time.Hour, true)
	f("uri", "", 0, -time.Second, true)
}

// TestUnderscoresMatchTheCatalog: what the file takes for underscores, the catalog takes too.
func TestUnderscoresMatchTheCatalog(t *testing.T) {
	for word, right := range map[string]bool{"": true, "drop": true, "pass": true, "keep": false} {
		c := conf.Default()
		c.Sites = []conf.Site{{Name: "shop", Underscores: word, Upstreams: []conf.Upstream{{Name: "one", Addr: "192.0.2.1:80"}}}}
		here, there := c.Validate(), sites.Settings{Underscores: word}.Validate()
		if (here == nil) != right || (len(there) == 0) != right {
			t.Errorf("%q: the file says %v, the catalog %v", word, here, there)
		}
	}
}

// TestRewritesMatchTheCatalog: the file and the catalog take the same names, and an empty list is not one that is left out.
func TestRewritesMatchTheCatalog(t *testing.T) {
	for _, name := range append(sites.Rewrites(), "links", "") {
		c := conf.Default()
		c.Sites = []conf.Site{{Name: "shop", Rewrite: []string{name}, Upstreams: []conf.Upstream{{Name: "one", Addr: "192.0.2.1:80"}}}}
		here, there := c.Validate(), sites.Settings{Rewrite: []string{name}}.Validate()
		if wrong := name == "links" || name == ""; (here != nil) != wrong || (len(there) > 0) != wrong {
			t.Errorf("%q: the file says %v, the catalog %v", name, here, there)
		}
	}
	c, err := conf.Load([]byte("[[site]]\nname = \"shop\"\nrewrite = []\nupstream = [{name = \"one\", addr = \"192.0.2.1:80\"}]\n"), "portico.toml", nil)
	if err != nil || c.Sites[0].Rewrite == nil {
		t.Errorf("an empty list: %v, %#v", err, c.Sites)
	}
}

// TestPatienceMatchesTheCatalog: 0 is the default; what is set lies between 100ms and a day, in the file and in the catalog.
func TestPatienceMatchesTheCatalog(t *testing.T) {
	for patience, right := range map[time.Duration]bool{
		0: true, -time.Second: false, 99 * time.Millisecond: false, 100 * time.Millisecond: true,
		24 * time.Hour: true, 24*time.Hour + time.Second: false,
	} {
		c := conf.Default()
		c.Sites = []conf.Site{{Name: "shop", Session: conf.Session{Patience: units.Duration(patience)}, Upstreams: []conf.Upstream{{Name: "one", Addr: "192.0.2.1:80"}}}}
		here := c.Validate()
		there := sites.Settings{Session: sites.Session{Patience: units.Duration(patience)}}.Validate()
		if (here == nil) != right || (len(there) == 0) != right {
			t.Errorf("%s: the file says %v, the catalog %v", patience, here, there)
		}
	}
}
