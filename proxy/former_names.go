package proxy

import (
	"cmp"
	"strings"

	"portico/conf"
	"portico/membership/catalog"
	"portico/proxy/site"
	"portico/proxy/sticky"
)

// staticFormerNames are what a site of the configuration file says of its upstreams.
func staticFormerNames(c *conf.Site) []sticky.FormerName {
	var list []sticky.FormerName
	for _, u := range c.Upstreams {
		id := site.UpstreamID(c.Name, u.Name)
		list = append(list, sticky.FormerName{Value: cmp.Or(u.Route, u.Name), ID: id})
		if name, value, ok := strings.Cut(u.Cookie, ":"); ok {
			list = append(list, sticky.FormerName{Cookie: name, Value: value, ID: id})
		}
	}
	return list
}

// memberFormerNames are the routes of an instance that an agent runs: its server's name and labels.
func memberFormerNames(m *catalog.Member, id string) []sticky.FormerName {
	list := []sticky.FormerName{{Value: m.Name, ID: id}}
	for _, l := range m.Labels {
		list = append(list, sticky.FormerName{Value: l, ID: id})
	}
	return list
}
