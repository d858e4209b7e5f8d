package deployhook

import (
	"context"
	"time"

	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// Events calls send for everything that has happened to a deploy and then for
// what happens, until the deploy has ended (nil), ctx is done or send fails.
func (d *Deployer) Events(ctx context.Context, id string, send func(messages.Event) error) error {
	ctx, done := d.during(ctx)
	defer done()
	record := d.o.Catalog.View().Deploy(id)
	if record == nil {
		return refusal.New(404, "not_found", "portico sites shows the last deploys", "there is no deploy %q", id)
	}
	if d.history.Observe(record, time.Now()) {
		d.logEnd(record)
	}
	for n := 0; ; {
		events, last, ended, changed := d.history.After(id, n)
		for _, e := range events {
			if err := send(e); err != nil {
				return err
			}
		}
		if n = last; ended {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// logEnd tells operators how a deploy has ended.
func (d *Deployer) logEnd(deploy *catalog.Deploy) {
	log := d.logger.With("site", deploy.Site, "deploy", deploy.ID, "release", deploy.Release, "by", deploy.By)
	if deploy.State == catalog.DeploySucceeded {
		log.Info("deploy succeeded")
		return
	}
	log.Warn("deploy "+string(deploy.State), "error", deploy.Error, "now", deploy.Hint)
}
