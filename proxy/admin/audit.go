package admin

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
	"portico/proxy/admin/api"
)

// record appends one entry to the audit log for a change that was tried by
// somebody who might.
func (s *Server) record(c *call, outcome error) {
	by, token := "nobody", ""
	if c.who != nil {
		by = c.who.Account
		if c.who.Token != nil {
			token = c.who.Token.ID
		}
	}
	object := c.object
	if object == "" {
		object = pathObject(c)
	}
	detail := c.detail
	if outcome != nil {
		detail = errorOf(outcome).Message
	}
	entry := catalog.AuditEntry{
		ID: ids.New(c.now), At: c.now.UTC(), By: by, Token: token, From: c.from,
		Action: cmp.Or(c.action, c.rt.action), Object: api.Bounded(object, 200), Detail: api.Bounded(detail, 500), Failed: outcome != nil,
	}
	// The client may be gone by now, and the entry must be written all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.r.Context()), 10*time.Second)
	defer cancel()
	_, err := s.o.Catalog.Update(ctx, func(tx *catalog.Tx) error { return tx.Audit(entry) })
	if err != nil {
		s.log.Error("audit entry cannot be written", "by", entry.By, "action", entry.Action, "object", entry.Object, "error", err)
		return
	}
	log := s.log.With("by", entry.By, "from", entry.From, "action", entry.Action, "object", entry.Object)
	if outcome != nil {
		log.Warn("refused or failed", "error", entry.Detail)
		return
	}
	log.Info("changed")
}

// pathObject names what a request's path names.
func pathObject(c *call) string {
	for _, name := range []string{"site", "member", "invite", "account", "token", "deploy", "host"} {
		if v := c.r.PathValue(name); v != "" {
			return v
		}
	}
	return ""
}

// audit answers GET /v1/audit.
func (s *Server) audit(c *call) error {
	limit := 200
	if q := c.r.URL.Query().Get("limit"); q != "" {
		n, err := strconv.Atoi(q)
		if err != nil || n < 1 || n > 10000 {
			return refusal.BadRequest("use 1 to 10000", "limit %q", q)
		}
		limit = n
	}
	entries, err := s.o.Catalog.Audit(c.r.Context(), limit)
	if err != nil {
		return err
	}
	return c.json(200, emptyNotNull(entries))
}
