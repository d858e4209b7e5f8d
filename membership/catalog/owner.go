package catalog

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"portico/conf/sites"
)

// FileOwner stands for the owner of the sites of a proxy's configuration file.
const FileOwner = "@file"

// SharedHost is a host that sites of several accounts may have. Stored under hosts/HOST.
type SharedHost struct {
	Host   string      `json:"host"` // as CanonicalHost writes it
	Grants []HostGrant `json:"grants"`
}

// HostGrant is an operator's word that a site may have a host beside those of other
// accounts.
type HostGrant struct {
	Site   string    `json:"site"`
	Beside []string  `json:"beside"` // accounts whose sites had the host then; it is good beside theirs only
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// Reserved is what a proxy's own configuration has of the hosts. Stored under
// reserved/PROXY; it counts while the proxy is an accepted member.
type Reserved struct {
	Proxy string         `json:"proxy"`
	Admin []string       `json:"admin,omitempty"` // names of the admin page; no site may have them
	Sites []ReservedSite `json:"sites,omitempty"` // of the configuration file
}

// ReservedSite is where a site of a configuration file answers.
type ReservedSite struct {
	Name  string   `json:"name"`
	Hosts []string `json:"hosts,omitempty"` // none: AnyHost
	Path  string   `json:"path"`
}

// Owner returns the account that a site belongs to: the one that installed it first. It
// is empty for a site that was never installed.
func (v *View) Owner(site string) string {
	s := v.Sites[site]
	if s == nil {
		return ""
	}
	if s.Owner != "" {
		return s.Owner
	}
	var first *Release // of a version that wrote no owner
	for _, digest := range sortedKeys(v.Releases[site]) {
		if r := v.Releases[site][digest]; first == nil || r.Created.Before(first.Created) {
			first = r
		}
	}
	if first == nil {
		return ""
	}
	return first.By
}

// scope returns the sites that the account is limited to; none: it is not limited.
func (a *Account) scope() []string {
	if a.Role == RoleDeployer || a.Role == RoleViewer {
		return a.Sites
	}
	return nil
}

// mayStandBeside reports whether a site may have a host that overlaps one of another's: its
// account stands for both, or an operator has said so.
func (v *View) mayStandBeside(c Claim, has holder, host string) bool {
	if shared := v.Hosts[host]; shared != nil && slices.ContainsFunc(shared.Grants, func(g HostGrant) bool {
		return g.Site == c.Site && slices.Contains(g.Beside, has.owner)
	}) {
		return true
	}
	if has.file != "" {
		return false
	}
	account := v.Accounts[c.By]
	if account == nil { // nobody's scope says what it stood for
		return has.owner == c.By
	}
	if scope := account.scope(); len(scope) > 0 {
		return slices.Contains(scope, c.Site) && slices.Contains(scope, has.site)
	}
	own := c.By
	if v.Sites[c.Site] != nil {
		own = v.Owner(c.Site)
	}
	return has.owner == own
}

// routes are the hosts and the path that a site answers on.
type routes struct {
	hosts []string
	path  string
}

// routesOf returns what a site answers on by its present settings; nothing where there is
// no such site.
func (v *View) routesOf(site string) routes {
	s := v.Sites[site]
	if s == nil {
		return routes{}
	}
	set, err := s.Effective()
	if err != nil {
		return routes{}
	}
	return routes{sites.HostsOf(set), set.Path}
}

// overlap reports whether a request can be for both of two hosts: they are the same, or one
// is a wildcard over the other. AnyHost overlaps nothing else: it is what is left.
func overlap(a, b string) bool {
	return a == b || under(a, b) || under(b, a)
}

// under reports whether a wildcard covers a name or a narrower wildcard.
func under(wild, name string) bool {
	suffix, ok := strings.CutPrefix(wild, "*")
	return ok && suffix != "" && strings.HasSuffix(name, suffix) && name != wild
}

// HostLine is one host that somebody has.
type HostLine struct {
	Host   string
	Path   string
	Site   string // empty: a proxy's admin page
	Owner  string // account, or FileOwner
	Proxy  string // of an admin page or a configuration file
	Shared *HostGrant
}

// HostLines lists who has which hosts, by name.
func (v *View) HostLines() []HostLine {
	var out []HostLine
	for _, site := range sortedKeys(v.Sites) {
		r := v.routesOf(site)
		for _, h := range r.hosts {
			out = append(out, HostLine{Host: h, Path: r.path, Site: site, Owner: v.Owner(site), Shared: v.grant(h, site)})
		}
	}
	for _, h := range sortedKeys(v.Hosts) { // shared, and not taken up yet
		for i, g := range v.Hosts[h].Grants {
			if !slices.Contains(v.routesOf(g.Site).hosts, h) {
				out = append(out, HostLine{Host: h, Site: g.Site, Owner: v.Owner(g.Site), Shared: &v.Hosts[h].Grants[i]})
			}
		}
	}
	for _, proxy := range sortedKeys(v.Reserved) {
		for _, h := range v.Reserved[proxy].Admin {
			out = append(out, HostLine{Host: h, Path: "/", Proxy: proxy})
		}
		for _, s := range v.Reserved[proxy].Sites {
			for _, h := range sites.HostsOf(sites.Settings{Front: sites.Front{Hosts: s.Hosts}}) {
				out = append(out, HostLine{Host: h, Path: sites.CleanMount(s.Path), Site: s.Name, Owner: FileOwner, Proxy: proxy})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b HostLine) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Path, b.Path)) })
	return out
}

// grant returns the operator's word that a site may have a host, or nil.
func (v *View) grant(host, site string) *HostGrant {
	shared := v.Hosts[host]
	if shared == nil {
		return nil
	}
	for i := range shared.Grants {
		if shared.Grants[i].Site == site {
			return &shared.Grants[i]
		}
	}
	return nil
}
