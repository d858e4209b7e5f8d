package upload

import (
	"cmp"
	"encoding/json"
	"slices"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

// Settle joins the manifest with the flags and what the site keeps, and checks
// the outcome; every mistake is told at once. u.Manifest becomes the release's.
func (u *Unpacked) Settle(v *catalog.View, q *Request) (sites.Settings, error) {
	site := v.Sites[q.Site]
	m := &u.Manifest
	if len(q.Hosts) > 0 {
		m.Hosts = q.Hosts
	}
	m.Path = cmp.Or(q.Path, m.Path)
	m.Kind = cmp.Or(q.Kind, m.Kind)
	// A site keeps the place that it was given by a flag once, so that the
	// next deploy without that flag does not move it.
	if site != nil && len(m.Hosts) == 0 {
		m.Hosts = slices.Clone(site.Manifest.Hosts)
	}
	if site != nil {
		m.Path = cmp.Or(m.Path, site.Manifest.Path)
	}
	u.detect(m)
	joined := *m
	if site != nil {
		var err error
		if joined, err = sites.Join(*m, site.Override); err != nil {
			return joined, err
		}
	}
	found := joined.Validate()
	if unread := u.drop(joined); !slices.ContainsFunc(found, about("exclude")) {
		found = append(found, unread...)
	}
	found = append(found, u.fit(joined)...)
	if len(found) > 0 {
		var override json.RawMessage
		if site != nil {
			override = site.Override
		}
		return joined, u.sourced(found, q, override)
	}
	full := joined.WithDefaults(q.Site)
	return full, command.CheckHosts(v, command.Claim{Site: q.Site, Settings: full, By: q.By})
}
