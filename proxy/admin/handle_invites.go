package admin

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

func (s *Server) listInvites(c *call) error {
	out := []api.InviteInfo{}
	for _, i := range s.o.Catalog.View().Invites {
		out = append(out, api.InviteInfo{ID: i.ID, Role: i.Role, Expires: i.Expires, By: i.By, Created: i.Created, UsedBy: i.UsedBy, UsedAt: i.UsedAt, Labels: i.Labels})
	}
	slices.SortFunc(out, func(a, b api.InviteInfo) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID)) })
	return c.json(http.StatusOK, out)
}

func (s *Server) makeInvite(c *call) error {
	in := api.InviteRequest{}
	if err := c.input(&in); err != nil {
		return err
	}
	if in.Role == "" {
		in.Role = catalog.RoleServer
	}
	if in.Role != catalog.RoleServer && in.Role != catalog.RoleProxy {
		return refusal.BadRequest("use server or proxy", "role %q", in.Role)
	}
	life, err := api.Duration(in.TTL, time.Hour, 30*24*time.Hour)
	if err != nil {
		return err
	}
	if in.TTL == "" && !c.who.Ends().IsZero() {
		life = min(life, c.who.Ends().Sub(c.now))
	}
	if life, err = c.within(life); err != nil {
		return err
	}
	if s.o.Admission == nil {
		return refusal.NotOffered("admission")
	}
	out, err := s.o.Admission.Invite(c.r.Context(), in.Role, life, c.who.Account, in.Labels...)
	if err != nil {
		return err
	}
	c.object = out.ID
	return c.json(http.StatusCreated, out)
}

func (s *Server) deleteInvite(c *call) error {
	id := c.r.PathValue("invite")
	_, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error {
		if _, err := tx.Invite(id); err != nil {
			return err
		}
		tx.DeleteInvite(id)
		return nil
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, struct{}{})
}
