package catalog

import (
	"errors"
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
	DrainProgress
}

// DrainProgress is what has come of a drain, as the proxy that watches it writes it
// down: another one, or the same after a restart, goes on from there.
type DrainProgress struct {
	Held  bool      `json:"held,omitempty"`  // it was seen with sessions
	Moved int       `json:"moved,omitempty"` // how many were marked to move
	Lost  int       `json:"lost,omitempty"`  // how many were on an instance that failed meanwhile
	Cause string    `json:"cause,omitempty"` // of that, as visitors are told it: instance-exited, member-failed, network
	Ended time.Time `json:"ended,omitzero"`  // when its outcome was told; zero: it goes on

	// Left is how much of the time until Deadline was left when the proxy that watches it wrote that down last. It counts,
	// and Deadline is for people: clocks are set. 0: no deadline, or an earlier version ordered it.
	Left units.Duration `json:"left,omitempty"`
}

// DrainEmpty is how a drain ends whose sessions have all ended or moved.
const DrainEmpty = "empty"

// DrainOutcome is how a drain has ended.
type DrainOutcome struct {
	How  string `json:"how"`  // DrainEmpty, or why sessions were lost, as visitors are told it: deadline, operator, instance-exited, member-failed, network
	Lost int    `json:"lost"` // how many, as far as is known

	Since time.Time `json:"since,omitzero"` // when the drain began, which tells it from others of the same object
}

// Equal reports whether p and q say the same.
func (p DrainProgress) Equal(q DrainProgress) bool {
	return p.Held == q.Held && p.Moved == q.Moved && p.Lost == q.Lost && p.Cause == q.Cause && p.Ended.Equal(q.Ended) && p.Left == q.Left
}

// NoteDrain writes down the progress of the drain of a member, a site's instance, or
// a site's release, the first that is named. A drain that began at another time, or has another
// deadline now, is left alone: it is not the one that was watched.
func NoteDrain(tx *Tx, member, site, instance, release string, was DrainOrder, p DrainProgress) error {
	switch {
	case instance != "":
		in, err := tx.Instance(instance)
		if err != nil || in.Admin != AdminDrain || in.Drain == nil || !in.Drain.same(was) {
			return ignoreNotFound(err)
		}
		order := *in.Drain
		order.DrainProgress = p
		in.Drain = &order
		return tx.PutInstance(in)
	case release != "":
		s, err := tx.Site(site)
		i := slices.IndexFunc(s.Retiring, func(r Retiring) bool {
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
	if err != nil || m.Admin != AdminDrain || m.Drain == nil || !m.Drain.same(was) {
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
func CutDrain(tx *Tx, member, instance string, since time.Time) error {
	if instance != "" {
		in, err := tx.Instance(instance)
		if err != nil || in.Admin != AdminDrain || in.Drain == nil || !in.Drain.Since.Equal(since) {
			return ignoreNotFound(err)
		}
		in.Admin, in.Drain, in.Overdue = AdminMaint, nil, true
		return tx.PutInstance(in)
	}
	m, err := tx.Member(member)
	if err != nil || m.Admin != AdminDrain || m.Drain == nil || !m.Drain.Since.Equal(since) {
		return ignoreNotFound(err)
	}
	m.Admin, m.Drain, m.Overdue = AdminMaint, nil, true
	return tx.PutMember(m)
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// check refuses an order that cannot be kept.
func (o DrainOrder) check() error {
	if o.Move < 0 || !o.Deadline.IsZero() && !o.Deadline.After(o.Since) {
		return fmt.Errorf("%w: a drain moves sessions after a positive time and ends in the future", ErrInvalid)
	}
	return nil
}

// same reports whether o is the order that was.
func (o *DrainOrder) same(was DrainOrder) bool {
	return o.Since.Equal(was.Since) && o.Deadline.Equal(was.Deadline)
}

// span is how long the order has from when it is given until its deadline, by the clock of who gives it. 0: no deadline.
func (o *DrainOrder) span() units.Duration {
	if o.Deadline.IsZero() {
		return 0
	}
	return units.Duration(o.Deadline.Sub(o.Since))
}

// Remaining is how long it takes until the deadline, a minute more at worst.
func (o *DrainOrder) Remaining(now time.Time) time.Duration {
	if o.Left > 0 {
		return o.Left.Std()
	}
	return o.Deadline.Sub(now)
}

// goesOn is an order that replaces one: it keeps its beginning and what has come of it, and has a deadline of its own.
func (o DrainOrder) goesOn(old *DrainOrder) DrainOrder {
	left := o.Left
	o.Since, o.DrainProgress = old.Since, old.DrainProgress
	o.Left = left
	return o
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
	o.Left = o.span()
	if m.Admin == AdminDrain && m.Drain != nil {
		o = o.goesOn(m.Drain)
	}
	m.Admin, m.Drain, m.Overdue = AdminDrain, &o, false
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
	o.Left = o.span()
	if in.Admin == AdminDrain && in.Drain != nil {
		o = o.goesOn(in.Drain)
	}
	in.Admin, in.Drain, in.Overdue, in.Leaving = state, nil, false, false
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
// when the quiet ones move, and, unless zero, its deadline. For one whose drain has
// ended there is nothing left to change, which is no error.
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
		return fmt.Errorf("%w: %s is the present release of site %q: deploy another or roll back, and it drains", ErrConflict, ShortRelease(digest), name)
	case i < 0:
		return nil
	}
	site.Retiring[i].Move = o.Move
	if !o.Deadline.IsZero() {
		site.Retiring[i].Deadline, site.Retiring[i].Left = o.Deadline, o.span()
	}
	return tx.PutSite(site)
}
