package catalog

import (
	"context"
	"sync"
	"time"

	"portico/internal/pause"
	"portico/membership/catalog/store"
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
	err := c.store.Load().Watch(ctx, c.View().Revision+1, func(events []store.Event, revision int64) {
		switch {
		case len(events) > 0:
			c.apply(events)
		case revision > c.View().Revision:
			next := *c.View()
			next.Revision = revision
			c.publish(&next, false)
		}
	})
	if err != nil && ctx.Err() == nil {
		c.logger.Info("catalog watch ended", "error", err)
	}
}

// apply publishes the view that the events lead to. The store delivers all events
// of a revision together, so a view never holds half a change.
func (c *Catalog) apply(events []store.Event) {
	if c.memory != nil {
		c.memory.Apply(events)
	}
	b := newBuilder(c.View(), c.sealer)
	for _, e := range events {
		if e.Deleted {
			b.del(e.Key)
			continue
		}
		if err := b.put(e.Item); err != nil {
			c.logger.Error("catalog record ignored", "key", e.Key, "error", err)
		}
	}
	c.publish(b.finish(events[len(events)-1].Revision), b.changed)
}
