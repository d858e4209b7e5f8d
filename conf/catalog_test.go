package conf_test

import (
	"testing"

	"portico/conf"
	"portico/membership/catalog"
)

// A static site takes what an installed one takes: the sections convert, and
// the same policies are known. The import is the test's alone.
func TestStaticSitesMatchTheCatalog(t *testing.T) {
	_ = catalog.HealthSettings(conf.Health{})
	_ = catalog.SessionSettings(conf.Session{})
	_ = catalog.TLSSettings(conf.SiteTLS{})
	for _, p := range append(catalog.Policies(), "roundrobin") {
		c := conf.Default()
		c.Sites = []conf.Site{{Name: "shop", Policy: p, Upstreams: []conf.Upstream{{Name: "one", Addr: "192.0.2.1:80"}}}}
		if err := c.Validate(); (err != nil) != (p == "roundrobin") {
			t.Errorf("policy %q: %v", p, err)
		}
	}
	for _, p := range append(catalog.Profiles(), "", "cookie:SID query:sid", "tomcta", "cookie:", "jar:SID") {
		c := conf.Default()
		c.Sites = []conf.Site{{Name: "shop", Session: conf.Session{Profile: p}, Upstreams: []conf.Upstream{{Name: "one", Addr: "192.0.2.1:80"}}}}
		if here, there := c.Validate(), catalog.CheckProfile(p); (here != nil) != (there != nil) {
			t.Errorf("profile %q: the file says %v, the catalog %v", p, here, there)
		}
	}
}
