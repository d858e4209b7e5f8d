package catalog

import (
	"context"
	"slices"
	"strings"
)

// How many audit entries are kept, and after how many new ones the oldest are
// dropped.
const (
	auditKeep = 10000
	auditSlop = 256
)

// Audit returns the newest limit entries of the audit log, newest first. Limit 0
// means all.
func (c *Catalog) Audit(ctx context.Context, limit int) ([]AuditEntry, error) {
	items, err := c.store.Load().Newest(ctx, preAudit, limit)
	if err != nil {
		return nil, err
	}
	out := make([]AuditEntry, 0, len(items))
	for _, it := range items {
		e, err := decode[AuditEntry](it.Key, it.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, *e)
	}
	// Keys tell milliseconds apart; what a script or a page does at once has an order, too.
	slices.SortStableFunc(out, func(a, b AuditEntry) int { return b.At.Compare(a.At) })
	return out, nil
}

// noteAudit counts what a committed change appended, and now and then trims.
func (c *Catalog) noteAudit(tx *Tx) {
	n := int64(0)
	for key := range tx.writes {
		if strings.HasPrefix(key, preAudit) {
			n++
		}
	}
	if n == 0 || c.appended.Add(n) < auditSlop {
		return
	}
	c.appended.Store(0)
	c.wg.Go(func() {
		if err := c.trimAudit(c.ctx); err != nil && c.ctx.Err() == nil {
			c.logger.Warn("audit log cannot be trimmed", "error", err)
		}
	})
}

// trimAudit drops the oldest entries past the cap.
func (c *Catalog) trimAudit(ctx context.Context) error {
	keys, _, err := c.store.Load().List(ctx, preAudit, true, false)
	if err != nil || len(keys) <= auditKeep {
		return err
	}
	first := keys[len(keys)-auditKeep].Key // the oldest that stays
	return c.store.Load().DeleteRange(ctx, preAudit, first)
}
