package catalog

import (
	"context"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
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
	var out []AuditEntry
	err := c.store.Load().read(ctx, func(ctx context.Context) error {
		r, err := c.store.Load().client().Get(ctx, preAudit, clientv3.WithPrefix(), clientv3.WithLimit(int64(limit)),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
		if err != nil {
			return err
		}
		out = make([]AuditEntry, 0, len(r.Kvs))
		for _, kv := range r.Kvs {
			e, err := decode[AuditEntry](string(kv.Key), kv.Value)
			if err != nil {
				return err
			}
			out = append(out, *e)
		}
		return nil
	})
	// Keys tell milliseconds apart; what a script or a page does at once has an order, too.
	slices.SortStableFunc(out, func(a, b AuditEntry) int { return b.At.Compare(a.At) })
	return out, err
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
	keys, _, err := c.store.Load().list(ctx, preAudit, true, false)
	if err != nil || len(keys) <= auditKeep {
		return err
	}
	first := keys[len(keys)-auditKeep].key // the oldest that stays
	return c.store.Load().do(ctx, func(ctx context.Context) error {
		_, err := c.store.Load().client().Delete(ctx, preAudit, clientv3.WithRange(first))
		return err
	})
}
