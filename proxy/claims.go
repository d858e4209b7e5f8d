package proxy

import (
	"cmp"
	"strings"

	"portico/conf"
	"portico/membership/catalog"
	"portico/proxy/site"
	"portico/proxy/sticky"
)

// staticClaims are what a site of the configuration file says of its upstreams.
func staticClaims(c *conf.Site) []sticky.Claim {
	var list []sticky.Claim
	for _, u := range c.Upstreams {
		id := site.UpstreamID(c.Name, u.Name)
		list = append(list, sticky.Claim{Value: cmp.Or(u.Route, u.Name), ID: id})
		if name, value, ok := strings.Cut(u.Cookie, ":"); ok {
			list = append(list, sticky.Claim{Cookie: name, Value: value, ID: id})
		}
	}
	return list
}

// memberClaims are the routes of an instance that an agent runs: its server's name and labels.
func memberClaims(m *catalog.Member, id string) []sticky.Claim {
	list := []sticky.Claim{{Value: m.Name, ID: id}}
	for _, l := range m.Labels {
		list = append(list, sticky.Claim{Value: l, ID: id})
	}
	return list
}
