package deployhook

import (
	"errors"
	"slices"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/membership/catalog/messages"
)

const (
	// settleTime is how long a release retires at least: until every proxy has
	// the view that sends new visitors elsewhere, and requests that were on
	// their way have arrived.
	settleTime = 2 * time.Second
	// cutAfter is how long requests may go on at an instance that is not wanted
	// any more: its deadline has passed, or somebody removed the site.
	cutAfter = 30 * time.Second
	// lastSend is how long a request may take from the old table to the
	// instance that the new one no longer has.
	lastSend = 300 * time.Millisecond
)

// retire lets the former releases of a site go that are empty or past their
// deadline. The agents stop what left the list.
func (d *Deployer) retire(name string) {
	now := time.Now()
	site := d.o.Catalog.View().Sites[name]
	if site == nil || !slices.ContainsFunc(site.Retiring, func(r catalog.Retiring) bool { return d.retired(d.o.Catalog.View(), site, r, now) }) {
		return
	}
	var gone []Drain
	d.update("retire", func(tx *catalog.Tx) error {
		gone = nil
		view := tx.View() // drains are told as they were before
		site, _, err := command.DropRetired(tx, name, func(s catalog.Site, r catalog.Retiring) bool {
			return d.retired(view, &s, r, now)
		}, now)
		if errors.Is(err, catalog.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, x := range drains(view) {
			if x.Kind == DrainRelease && x.Site == name && !slices.ContainsFunc(site.Retiring, func(r catalog.Retiring) bool { return r.Release == x.Release }) {
				d.noteFailures(d.watched(x, now), view)
				x.Loss = d.loss(x.held).add(d.remoteLoss(view, x.key()))
				gone = append(gone, x)
			}
		}
		return nil
	})
	for _, x := range gone {
		progress := d.watched(x, now).progress
		text, outcome := emptied(&x, progress, now)
		if x.Sessions > 0 || x.Recounting {
			text, outcome = cutOff(x.Sessions, !x.Recounting, progress)
		}
		d.tell("drain ended", &x, text, &outcome, now, nil)
	}
}

// retired reports whether a former release has done its duty.
func (d *Deployer) retired(v *catalog.View, site *catalog.Site, r catalog.Retiring, now time.Time) bool {
	w := d.watched(releaseDrain(site.Name, r), now)
	if w.over(now) {
		return true
	}
	if !w.settled(now) {
		return false
	}
	for _, instance := range v.InstancesOf(site.Name) {
		if instance.Release != r.Release {
			continue
		}
		// Sessions that began before this proxy did are counted when their
		// visitors come again, which takes up to the idle time. Until then an
		// empty table proves nothing about an instance that is older than it.
		if sessions, inflight, known := d.loadEverywhere(v, site.Name, instance.ID, now); sessions > 0 || inflight > 0 || !known {
			return false
		}
	}
	return true
}

func (d *Deployer) load(instance string) (sessions, inflight int, known bool) {
	if d.o.Load == nil {
		return 0, 0, true
	}
	return d.o.Load(instance)
}

// stoppable returns the reported instances that a member may stop: nothing
// wants them, and this proxy has no request there, or has had one for too long.
// soon reports that there are more which only wait for lastSend to pass.
func (d *Deployer) stoppable(wanted messages.Wanted, reported []messages.InstanceReport, now time.Time) (list []string, soon bool) {
	list = []string{}
	for _, in := range reported {
		if in.ID == "" || wants(wanted, in) {
			d.live.wanted(in.ID)
			continue
		}
		unused := now.Sub(d.live.unwanted(in.ID, now))
		_, inflight, _ := d.load(in.ID)
		switch {
		case inflight == 0 && unused >= lastSend, unused > cutAfter:
			list = append(list, in.ID)
		case inflight == 0:
			soon = true
		}
	}
	return list, soon
}
