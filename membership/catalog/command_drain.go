package catalog

import (
	"fmt"
	"slices"
	"time"

	"portico/internal/units"
)

// DrainOrder says how something is to be emptied of its sessions. Without more
// they stay until they end.
type DrainOrder struct {
	Since    time.Time      `json:"since"`
	By       string         `json:"by"`
	Move     units.Duration `json:"move,omitempty"`    // sessions that were not used for so long are moved with their next request; 0: none is
	Deadline time.Time      `json:"deadline,omitzero"` // sessions that are left then lose their instance; zero: never
}

// check refuses an order that cannot be kept.
func (o DrainOrder) check() error {
	if o.Move < 0 || !o.Deadline.IsZero() && !o.Deadline.After(o.Since) {
		return fmt.Errorf("%w: a drain moves sessions after a positive time and ends in the future", ErrInvalid)
	}
	return nil
}

// DrainMember lets an accepted member keep its sessions and get no new ones. A
// second order replaces the first and keeps its beginning.
func DrainMember(tx *Tx, name string, o DrainOrder) (Member, error) {
	m, err := acceptedMember(tx, name)
	if err != nil {
		return Member{}, err
	}
	if m.Role != RoleServer {
		return Member{}, fmt.Errorf("%w: member %q is a proxy: only application servers hold sessions", ErrConflict, name)
	}
	if err := o.check(); err != nil {
		return Member{}, err
	}
	if m.Admin == AdminDrain && m.Drain != nil {
		o.Since = m.Drain.Since
	}
	m.Admin, m.Drain = AdminDrain, &o
	return m, tx.PutMember(m)
}

// SetInstanceAdmin sets what operators want of one instance. The order counts
// with AdminDrain only.
func SetInstanceAdmin(tx *Tx, site, id string, state AdminState, o DrainOrder) (Instance, error) {
	if state != AdminReady && state != AdminDrain && state != AdminMaint {
		return Instance{}, fmt.Errorf("%w: state %.40q; it is ready, drain or maint", ErrInvalid, state)
	}
	in, err := tx.Instance(id)
	if err != nil {
		return Instance{}, err
	}
	if in.Site != site {
		return Instance{}, fmt.Errorf("%w: instance %q of site %q", ErrNotFound, id, site)
	}
	if err := o.check(); err != nil {
		return Instance{}, err
	}
	if in.Admin == AdminDrain && in.Drain != nil {
		o.Since = in.Drain.Since
	}
	in.Admin, in.Drain = state, nil
	switch state {
	case AdminReady:
		in.Admin = ""
	case AdminDrain:
		in.Drain = &o
	case AdminMaint:
	}
	return in, tx.PutInstance(in)
}

// OrderRetiring changes how a former release that keeps its sessions is emptied:
// when the quiet ones move, and, unless zero, its deadline.
func OrderRetiring(tx *Tx, name, digest string, o DrainOrder) error {
	site, err := tx.Site(name)
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	i := slices.IndexFunc(site.Retiring, func(r Retiring) bool { return r.Release == digest })
	switch {
	case i < 0 && site.Release == digest:
		return fmt.Errorf("%w: %.12s is the present release of site %q: deploy another or roll back, and it drains", ErrConflict, digest, name)
	case i < 0:
		return fmt.Errorf("%w: release %.12s of site %q holds no sessions", ErrConflict, digest, name)
	}
	site.Retiring[i].Move = o.Move
	if !o.Deadline.IsZero() {
		site.Retiring[i].Deadline = o.Deadline
	}
	return tx.PutSite(site)
}
