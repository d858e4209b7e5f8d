package admin

import (
	"net/http"
	"time"

	"portico/internal/refusal"
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
		return refusal.NotFound("use session, tickets or gossip", "there is no key %q", api.Bounded(c.r.PathValue("kind"), 40))
	}
	if err := rotate(c.r.Context()); err != nil {
		return err
	}
	c.object = c.r.PathValue("kind")
	return s.listKeys(c)
}
