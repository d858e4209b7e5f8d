package catalog

import (
	"context"
	"time"

	"portico/internal/pause"
	"portico/membership/catalog/store"
)

// startFollowing begins to keep the view in step with the store, and the store open.
func (c *Catalog) startFollowing() {
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan struct{})
	c.wg.Go(func() { defer close(done); c.keepUp(ctx) })
	c.stopFollowing = func() { cancel(); <-done }
}

// keepUp follows the store, and each one that is opened in its place, until ctx ends or none can be opened any more.
func (c *Catalog) keepUp(ctx context.Context) {
	for s := c.store.Load(); ; s = c.store.Load() {
		following, stop := context.WithCancel(ctx)
		whole := context.AfterFunc(s.Broken(), stop)
		c.follow(following)
		whole()
		stop()
		if ctx.Err() != nil || !c.revive(ctx, s) {
			return
		}
	}
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
