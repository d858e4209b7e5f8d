package catalog

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"portico/internal/pause"
)

// startFollowing begins to keep the view in step with the store, and the store open.
func (c *Catalog) startFollowing() {
	ctx, cancel := context.WithCancel(c.ctx)
	var both sync.WaitGroup
	both.Go(func() { c.follow(ctx) })
	both.Go(func() { c.revive(ctx) })
	c.stopFollowing = func() { cancel(); both.Wait() }
	c.wg.Go(both.Wait)
}

// follow keeps the view in step with the store until ctx ends.
func (c *Catalog) follow(ctx context.Context) {
	for wait := time.Duration(0); ctx.Err() == nil; wait = min(2*wait+50*time.Millisecond, 2*time.Second) {
		if wait > 0 {
			if pause.For(ctx, wait) != nil {
				return
			}
			// The watch ended: the store was compacted past our revision, or is in
			// trouble. Everything is read again.
			view, err := c.load(ctx, false)
			if err != nil {
				if ctx.Err() == nil {
					c.logger.Warn("catalog cannot be read again, serving the last known state", "error", err)
				}
				continue
			}
			if id := c.View().ClusterID; id != "" && id != view.ClusterID {
				c.logger.Error("the catalog's etcd holds another cluster now, serving the last known state", "cluster", id, "found", view.ClusterID)
				continue
			}
			if view.Revision >= c.View().Revision {
				c.publish(view, true)
			}
			wait = 0
		}
		c.watch(ctx)
	}
}

// watch applies changes to the view until the watch ends.
func (c *Catalog) watch(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for r := range c.store.Load().watch(ctx, c.View().Revision+1) {
		if r.Err() != nil {
			if ctx.Err() == nil {
				c.logger.Info("catalog watch ended", "error", r.Err())
			}
			return
		}
		switch {
		case len(r.Events) > 0:
			c.apply(r.Events)
		case r.IsProgressNotify() && r.Header.Revision > c.View().Revision:
			next := *c.View()
			next.Revision = r.Header.Revision
			c.publish(&next, false)
		}
	}
}

// apply publishes the view that the events lead to. The store delivers all events
// of a revision together, so a view never holds half a change.
func (c *Catalog) apply(events []*clientv3.Event) {
	if c.memory != nil {
		c.memory.apply(events)
	}
	b := newBuilder(c.View(), c.sealer)
	for _, e := range events {
		key := string(e.Kv.Key)
		if e.Type == clientv3.EventTypeDelete {
			b.del(key)
			continue
		}
		if err := b.put(item{key, e.Kv.Value, e.Kv.ModRevision}); err != nil {
			c.logger.Error("catalog record ignored", "key", key, "error", err)
		}
	}
	c.publish(b.finish(events[len(events)-1].Kv.ModRevision), b.changed)
}
