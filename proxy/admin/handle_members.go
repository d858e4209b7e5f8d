package admin

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"portico/balancer"
	"portico/balancer/figures"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy/admin/api"
	"portico/proxy/admin/forecast"
)

func (s *Server) listMembers(c *call) error {
	list := s.memberInfos(s.o.Catalog.View(), s.everywhere(c).Pools)
	parts := map[string]*catalog.Replica{}
	for _, r := range s.o.Catalog.Replicas(c.r.Context()) {
		parts[r.Name] = &r
	}
	for i := range list {
		list[i].Catalog = parts[list[i].Name]
		if s.o.Predecessors != nil && list[i].Role == catalog.RoleProxy && list[i].Name == s.o.Name {
			list[i].Predecessors = s.o.Predecessors()
		}
	}
	return c.json(http.StatusOK, list)
}

// memberInfos lists members, those that wait for a decision first.
func (s *Server) memberInfos(view *catalog.View, pools []figures.Pool) []api.MemberInfo {
	gossip := map[string]string{}
	if s.o.Nodes != nil {
		for _, n := range s.o.Nodes() {
			gossip[n.Name] = n.Status
		}
	}
	instances, sessions, recounting := map[string]int{}, map[string]int64{}, map[string]bool{}
	for i := range pools {
		for j := range pools[i].Upstreams {
			u := &pools[i].Upstreams[j]
			instances[u.Member]++
			sessions[u.Member] += int64(u.Sessions)
			recounting[u.Member] = recounting[u.Member] || u.Recounting
		}
	}
	out := make([]api.MemberInfo, 0, len(view.Members))
	for _, m := range view.Members {
		info := memberInfo(m)
		info.Gossip, info.Instances, info.Sessions = gossip[m.Name], instances[m.Name], sessions[m.Name]
		info.Recounting = recounting[m.Name]
		out = append(out, info)
	}
	order := map[catalog.Admission]int{catalog.Pending: 0, catalog.Accepted: 1, catalog.Refused: 2, catalog.Revoked: 3}
	slices.SortFunc(out, func(a, b api.MemberInfo) int {
		return cmp.Or(cmp.Compare(order[a.Admission], order[b.Admission]), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func memberInfo(m *catalog.Member) api.MemberInfo {
	weight := m.Weight
	if weight == 0 {
		weight = balancer.DefaultWeight
	}
	admin := m.Admin
	if admin == "" {
		admin = catalog.AdminReady
	}
	return api.MemberInfo{
		Name: m.Name, ID: m.ID, Role: m.Role, Admission: m.Admission, Admin: admin, Addr: m.Addr,
		Fingerprint: m.Fingerprint, Version: m.Version, Platform: m.Platform, Runtimes: m.Runtimes, Zone: m.Zone, Labels: m.Labels,
		Weight: weight, Reason: m.Reason, Knocked: m.Knocked, Decided: m.Decided, By: m.By,
	}
}

func (s *Server) acceptMember(c *call) error { return s.memberVerb(c, api.VerbAccept) }
func (s *Server) refuseMember(c *call) error { return s.memberVerb(c, api.VerbRefuse) }
func (s *Server) revokeMember(c *call) error { return s.memberVerb(c, api.VerbRevoke) }
func (s *Server) drainMember(c *call) error  { return s.memberVerb(c, api.VerbDrain) }
func (s *Server) readyMember(c *call) error  { return s.memberVerb(c, api.VerbReady) }
func (s *Server) maintMember(c *call) error  { return s.memberVerb(c, api.VerbMaint) }

func (s *Server) memberVerb(c *call, verb string) error {
	var in api.MemberRequest
	if err := c.input(&in); err != nil {
		return err
	}
	name := c.r.PathValue("member")
	view := s.o.Catalog.View()
	if err := isMember(view, name); err != nil {
		return err
	}
	pools := s.everywhere(c)
	if c.dry {
		return c.json(http.StatusOK, forecast.Member(view, verb, name, pools))
	}
	c.detail = in.Reason
	if err := s.deeds.Member(c.r.Context(), c.who.Account, c.now, verb, name, in); err != nil {
		return err
	}
	for _, m := range s.memberInfos(s.o.Catalog.View(), pools.Pools) {
		if m.Name == name {
			return c.json(http.StatusOK, m)
		}
	}
	return c.json(http.StatusOK, api.MemberInfo{Name: name}) // refused and forgotten
}

// turnedAway answers GET /v1/turned-away.
func (s *Server) turnedAway(c *call) error {
	if s.o.TurnedAway == nil {
		return refusal.NotOffered("admission")
	}
	return c.json(http.StatusOK, emptyNotNull(s.o.TurnedAway()))
}

// forgetMember removes the record of a machine that is no member, so that its
// name is free.
func (s *Server) forgetMember(c *call) error {
	_, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error {
		return command.RemoveMember(tx, c.r.PathValue("member"))
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, struct{}{})
}

// isMember returns an error that a person understands for what is no member of the view.
func isMember(view *catalog.View, name string) error {
	if view.Members[name] != nil {
		return nil
	}
	return refusal.NotFound("portico members lists them", "there is no member %q", name)
}

// labelMember gives an application server the labels that the body names, and no others.
func (s *Server) labelMember(c *call) error {
	var in api.LabelsRequest
	if err := c.input(&in); err != nil {
		return err
	}
	name := c.r.PathValue("member")
	view := s.o.Catalog.View()
	if err := isMember(view, name); err != nil {
		return err
	}
	f := forecast.Labels(view, name, in.Labels, s.everywhere(c))
	if c.dry {
		return c.json(http.StatusOK, f)
	}
	var m catalog.Member
	if _, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) (err error) {
		m, err = command.LabelMember(tx, name, in.Labels)
		return err
	}); err != nil {
		return err
	}
	c.detail = strings.Join(m.Labels, " ")
	return c.json(http.StatusOK, api.LabelsAnswer{Member: name, Labels: m.Labels, Notes: f.Notes})
}
