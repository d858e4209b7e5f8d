package command

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"portico/internal/units"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

// NoteDrain writes down the progress of the drain of a member, a site's instance, or
// a site's release, the first that is named. A drain that began at another time, or has another
// deadline now, is left alone: it is not the one that was watched.
func NoteDrain(tx *catalog.Tx, member, site, instance, release string, was catalog.DrainOrder, p catalog.DrainProgress) error {
	switch {
	case instance != "":
		in, err := tx.Instance(instance)
		if err != nil || in.Admin != catalog.AdminDrain || in.Drain == nil || !sameOrder(in.Drain, was) {
			return ignoreNotFound(err)
		}
		order := *in.Drain
		order.DrainProgress = p
		in.Drain = &order
		return tx.PutInstance(in)
	case release != "":
		s, err := tx.Site(site)
		i := slices.IndexFunc(s.Retiring, func(r catalog.Retiring) bool {
			return r.Release == release && r.Since.Equal(was.Since) && r.Deadline.Equal(was.Deadline)
		})
		if err != nil || i < 0 {
			return ignoreNotFound(err)
		}
		s.Retiring = slices.Clone(s.Retiring)
		s.Retiring[i].Moved, s.Retiring[i].Lost, s.Retiring[i].Cause = p.Moved, p.Lost, p.Cause
		s.Retiring[i].Left = p.Left
		return tx.PutSite(s)
	}
	m, err := tx.Member(member)
	if err != nil || m.Admin != catalog.AdminDrain || m.Drain == nil || !sameOrder(m.Drain, was) {
		return ignoreNotFound(err)
	}
	order := *m.Drain
	order.DrainProgress = p
	m.Drain = &order
	return tx.PutMember(m)
}

// CutDrain puts a member, or where it is named a site's instance, into maintenance
// because the deadline of its drain has passed. As with NoteDrain, a drain that began at
// another time is left alone.
func CutDrain(tx *catalog.Tx, member, instance string, since time.Time) error {
	if instance != "" {
		in, err := tx.Instance(instance)
		if err != nil || in.Admin != catalog.AdminDrain || in.Drain == nil || !in.Drain.Since.Equal(since) {
			return ignoreNotFound(err)
		}
		in.Admin, in.Drain, in.Overdue = catalog.AdminMaint, nil, true
		return tx.PutInstance(in)
	}
	m, err := tx.Member(member)
	if err != nil || m.Admin != catalog.AdminDrain || m.Drain == nil || !m.Drain.Since.Equal(since) {
		return ignoreNotFound(err)
	}
	m.Admin, m.Drain, m.Overdue = catalog.AdminMaint, nil, true
	return tx.PutMember(m)
}

func ignoreNotFound(err error) error {
	if errors.Is(err, catalog.ErrNotFound) {
		return nil
	}
	return err
}

// checkOrder refuses an order that cannot be kept.
func checkOrder(o catalog.DrainOrder) error {
	if o.Move < 0 || !o.Deadline.IsZero() && !o.Deadline.After(o.Since) {
		return fmt.Errorf("%w: a drain moves sessions after a positive time and ends in the future", catalog.ErrInvalid)
	}
	return nil
}

// sameOrder reports whether o is the order that was.
func sameOrder(o *catalog.DrainOrder, was catalog.DrainOrder) bool {
	return o.Since.Equal(was.Since) && o.Deadline.Equal(was.Deadline)
}

// span is how long the order has from when it is given until its deadline, by the clock of who gives it. 0: no deadline.
func span(o *catalog.DrainOrder) units.Duration {
	if o.Deadline.IsZero() {
		return 0
	}
	return units.Duration(o.Deadline.Sub(o.Since))
}

// goesOn is an order that replaces one: it keeps its beginning and what has come of it, and has a deadline of its own.
func goesOn(o catalog.DrainOrder, old *catalog.DrainOrder) catalog.DrainOrder {
	left := o.Left
	o.Since, o.DrainProgress = old.Since, old.DrainProgress
	o.Left = left
	return o
}

// DrainMember lets an accepted member keep its sessions and get no new ones. A
// second order replaces the first and keeps its beginning.
func DrainMember(tx *catalog.Tx, name string, o catalog.DrainOrder) (catalog.Member, error) {
	m, err := acceptedMember(tx, name)
	if err != nil {
		return catalog.Member{}, err
	}
	if m.Role != catalog.RoleServer {
		return catalog.Member{}, fmt.Errorf("%w: member %q is a proxy: only application servers hold sessions", catalog.ErrConflict, name)
	}
	if err := checkOrder(o); err != nil {
		return catalog.Member{}, err
	}
	o.Left = span(&o)
	if m.Admin == catalog.AdminDrain && m.Drain != nil {
		o = goesOn(o, m.Drain)
	}
	m.Admin, m.Drain, m.Overdue = catalog.AdminDrain, &o, false
	return m, tx.PutMember(m)
}

// SetInstanceAdmin sets what operators want of one instance. The order counts
// with AdminDrain only.
func SetInstanceAdmin(tx *catalog.Tx, site, id string, state catalog.AdminState, o catalog.DrainOrder) (catalog.Instance, error) {
	if state != catalog.AdminReady && state != catalog.AdminDrain && state != catalog.AdminMaint {
		return catalog.Instance{}, fmt.Errorf("%w: state %.40q; it is ready, drain or maint", catalog.ErrInvalid, state)
	}
	in, err := tx.Instance(id)
	if err != nil {
		return catalog.Instance{}, err
	}
	if in.Site != site {
		return catalog.Instance{}, fmt.Errorf("%w: instance %q of site %q", catalog.ErrNotFound, id, site)
	}
	if err := checkOrder(o); err != nil {
		return catalog.Instance{}, err
	}
	o.Left = span(&o)
	if in.Admin == catalog.AdminDrain && in.Drain != nil {
		o = goesOn(o, in.Drain)
	}
	in.Admin, in.Drain, in.Overdue, in.Leaving = state, nil, false, false
	switch state {
	case catalog.AdminReady:
		in.Admin = ""
	case catalog.AdminDrain:
		in.Drain = &o
	case catalog.AdminMaint:
	}
	return in, tx.PutInstance(in)
}

// OrderRetiring changes how a former release that keeps its sessions is emptied:
// when the quiet ones move, and, unless zero, its deadline. For one whose drain has
// ended there is nothing left to change, which is no error.
func OrderRetiring(tx *catalog.Tx, name, digest string, o catalog.DrainOrder) error {
	site, err := tx.Site(name)
	if err != nil {
		return err
	}
	if err := checkOrder(o); err != nil {
		return err
	}
	i := slices.IndexFunc(site.Retiring, func(r catalog.Retiring) bool { return r.Release == digest })
	switch {
	case i < 0 && site.Release == digest:
		return fmt.Errorf("%w: %s is the present release of site %q: deploy another or roll back, and it drains", catalog.ErrConflict, ids.ShortRelease(digest), name)
	case i < 0:
		return nil
	}
	site.Retiring[i].Move = o.Move
	if !o.Deadline.IsZero() {
		site.Retiring[i].Deadline, site.Retiring[i].Left = o.Deadline, span(&o)
	}
	return tx.PutSite(site)
}
