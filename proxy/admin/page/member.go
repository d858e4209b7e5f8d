package page

import (
	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

type memberView struct {
	M                  api.MemberInfo
	Class, State, Role string
	Verbs              []Verb
}

func memberOf(f *Frame, m api.MemberInfo) memberView {
	v := memberView{M: m, Class: "up", State: string(m.Admission), Role: string(m.Role)}
	if m.Role == catalog.RoleServer {
		v.Role = "application server"
	}
	var names []string
	switch m.Admission {
	case catalog.Accepted:
		names = append(names, api.VerbRevoke)
		v.State = string(m.Admin)
		if m.Role != catalog.RoleServer {
			v.State = "accepted"
			break
		}
		names = map[catalog.AdminState][]string{
			catalog.AdminReady: {api.VerbDrain, api.VerbMaint, api.VerbRevoke},
			catalog.AdminDrain: {api.VerbReady, api.VerbMaint, api.VerbRevoke},
			catalog.AdminMaint: {api.VerbReady, api.VerbDrain, api.VerbRevoke},
		}[m.Admin]
	case catalog.Refused, catalog.Revoked:
		v.Class = "nocheck"
	}
	switch {
	case m.Admission != catalog.Accepted:
	case m.Admin == catalog.AdminDrain:
		v.Class = "drain"
	case m.Admin == catalog.AdminMaint:
		v.Class = "maint"
	case m.Gossip == "failed":
		v.Class = "going-down"
	}
	if m.Name != f.Proxy {
		v.Verbs = offered(f.Who, Target{Member: m.Name}, names...)
	}
	return v
}
