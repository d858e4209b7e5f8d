package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"portico/conf/sites"
)

// Takes reports whether a site with these settings belongs on this application
// server: it names no servers, or this one by its name or by a label of it.
// Labels and acceptance are given by operators alone; nothing that a machine says
// of itself after that changes the answer.
func (m *Member) Takes(s sites.Settings) bool {
	return len(s.Servers) == 0 || slices.ContainsFunc(s.Servers, m.answersTo)
}

// answersTo reports whether a name in a site's servers means this member.
func (m *Member) answersTo(name string) bool {
	return m.Name == name || slices.Contains(m.Labels, name)
}

// Servers returns the accepted application servers that a site with these settings
// belongs on, by name.
func (v *View) Servers(s sites.Settings) []*Member {
	var list []*Member
	for _, name := range slices.Sorted(maps.Keys(v.Members)) {
		if m := v.Members[name]; m.Role == RoleServer && m.Admission == Accepted && m.Takes(s) {
			list = append(list, m)
		}
	}
	return list
}

// Homeless returns the error of a site that belongs on none of the application
// servers that there are, nil where it has one, or there is no server at all yet.
func (v *View) Homeless(site string, s sites.Settings) error {
	if len(s.Servers) == 0 || len(v.Servers(s)) > 0 || len(v.Servers(sites.Settings{})) == 0 {
		return nil
	}
	return fmt.Errorf("%w: site %q is for servers = %s, and no accepted application server has such a label or name: give one the label (portico members label MEMBER %s), or change servers (portico sites set %s servers=…)",
		ErrConflict, site, quoteAll(s.Servers), s.Servers[0], site)
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// HomelessSites returns what Homeless says of each site, by name.
func (v *View) HomelessSites() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(v.Sites)) {
		s, err := v.Sites[name].Effective()
		if err != nil {
			continue
		}
		if err := v.Homeless(name, s); err != nil {
			out = append(out, strings.TrimPrefix(err.Error(), ErrConflict.Error()+": "))
		}
	}
	return out
}

// CheckInvitedName refuses a machine that comes with an invite and calls itself as
// some site's servers do, unless the invite was made with that label: nobody has
// looked at the name.
func CheckInvitedName(tx *Tx, i Invite, name string) error {
	if slices.Contains(i.Labels, name) {
		return nil
	}
	tx.listed[preSites], tx.listed[preReleases] = true, true
	for site, s := range tx.view.Sites {
		for _, r := range tx.view.Releases[site] {
			if settings, err := s.JoinedFor(r); err == nil && slices.Contains(settings.Servers, name) {
				return fmt.Errorf("%w: site %q is placed by the name %q, and the invite was not made for it: make one with portico invite --label %s, or start this machine with another --name", ErrConflict, site, name, name)
			}
		}
	}
	return nil
}
