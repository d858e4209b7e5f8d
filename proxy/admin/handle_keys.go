package admin

import (
	"net/http"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy/admin/api"
)

// listKeys answers GET /v1/keys: the ages of the keys, never the keys.
func (s *Server) listKeys(c *call) error {
	out := []api.KeyInfo{}
	session, err := command.SessionKeys(s.o.Catalog)
	if err != nil {
		return err
	}
	sealing := false
	for _, k := range session {
		begun := !time.Now().Before(k.From)
		out = append(out, api.KeyInfo{Kind: api.KeySession, ID: int(k.ID), Created: k.Created, Primary: begun && !sealing, Next: !begun, From: k.From, Until: k.Until})
		sealing = sealing || begun
	}
	gossip, err := command.GossipKeys(s.o.Catalog)
	if err != nil {
		return err
	}
	for i := range gossip {
		out = append(out, api.KeyInfo{Kind: api.KeyGossip, Primary: i == 0})
	}
	tickets, err := command.TicketKeys(s.o.Catalog)
	if err != nil {
		return err
	}
	primary := false
	for _, k := range tickets {
		begun := !time.Now().Before(k.From)
		out = append(out, api.KeyInfo{Kind: api.KeyTickets, ID: int(k.ID), Created: k.Created, Primary: begun && !primary, Next: !begun})
		primary = primary || begun
	}
	return c.json(http.StatusOK, out)
}

// rotateKeys answers POST /v1/keys/{kind}/rotate.
func (s *Server) rotateKeys(c *call) error {
	rotate := s.o.RotateKeys[c.r.PathValue("kind")]
	if rotate == nil {
		return api.NotFound("use session, tickets or gossip", "there is no key %q", bounded(c.r.PathValue("kind"), 40))
	}
	if err := rotate(c.r.Context()); err != nil {
		return err
	}
	c.object = c.r.PathValue("kind")
	return s.listKeys(c)
}

// turnedAway answers GET /v1/turned-away.
func (s *Server) turnedAway(c *call) error {
	if s.o.TurnedAway == nil {
		return notOffered("admission")
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

// cancelDeploy answers POST /v1/sites/{site}/cancel.
func (s *Server) cancelDeploy(c *call) error {
	site, err := s.site(c)
	if err != nil {
		return err
	}
	d, err := s.cancelOf(c, site.Name)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, d)
}

// cancelOf cancels a site's running deploy; API and page both come here.
func (s *Server) cancelOf(c *call, site string) (catalog.Deploy, error) {
	if s.o.Deploys == nil {
		return catalog.Deploy{}, notOffered("deploys")
	}
	d, err := s.o.Deploys.Cancel(c.r.Context(), site, c.who.Account)
	c.detail = d.ID
	return d, err
}
