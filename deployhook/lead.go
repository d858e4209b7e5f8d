package deployhook

import (
	"context"
	"time"

	"portico/internal/pause"
)

// leadTask names the controller among what one proxy does for all.
const leadTask = "controller"

// leadRetry is the pause after the catalog could not say who leads.
const leadRetry = time.Second

// lead makes this proxy the one that walks deploys and drains, as soon as no other
// does, and for as long as its lease lasts.
func (d *Deployer) lead() {
	for d.ctx.Err() == nil {
		led, resign, err := d.o.Catalog.Lead(d.ctx, leadTask)
		if err != nil {
			if d.ctx.Err() == nil {
				d.logger.Debug("nobody knows who walks deploys", "error", err)
				_ = pause.For(d.ctx, leadRetry)
			}
			continue
		}
		d.logger.Debug("this proxy walks deploys and drains")
		d.leads.Store(&led)
		d.wake()
		<-led.Done()
		d.leads.Store(nil)
		resign()
	}
}

// leading reports whether this proxy walks deploys and drains now.
func (d *Deployer) leading() bool {
	led := d.leads.Load()
	return led != nil && (*led).Err() == nil
}

// term returns the context of this proxy's lead, nil while another leads.
func (d *Deployer) term() context.Context {
	if led := d.leads.Load(); led != nil && (*led).Err() == nil {
		return *led
	}
	return nil
}
