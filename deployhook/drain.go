package deployhook

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"portico/internal/units"
	"portico/membership/catalog"
)

// What can be drained.
const (
	DrainMember   = "member"   // all instances on one application server
	DrainInstance = "instance" // one of them
	DrainRelease  = "release"  // all instances of a former release of a site
)

// Loss is what some instances hold, and would lose if they went away now.
type Loss struct {
	Sessions   int            `json:"sessions"`             // live ones, idle ones too
	Recent     int            `json:"recent"`               // of these, used in the last 5 minutes
	InFlight   int            `json:"in_flight"`            // requests
	Oldest     units.Duration `json:"oldest,omitempty"`     // age of the oldest session
	Idlest     units.Duration `json:"idlest,omitempty"`     // longest time without a request
	Ends       time.Time      `json:"ends,omitzero"`        // when the last one ends if nobody comes back; zero: none is left
	Recounting bool           `json:"recounting,omitempty"` // there may be more: the proxy has not been up for long
}

// Drain is something that is being emptied of its sessions.
type Drain struct {
	Kind      string `json:"kind"`   // member, instance or release
	Object    string `json:"object"` // as commands name it: server-1, shop/INSTANCE, shop@RELEASE
	Site      string `json:"site,omitempty"`
	Member    string `json:"member,omitempty"`
	Release   string `json:"release,omitempty"`
	Instance  string `json:"instance,omitempty"`
	Instances int    `json:"instances"` // that run
	catalog.DrainOrder
	Loss

	held []*catalog.Instance
}

// Target names what an order is for: a member, or a site's instance or release.
type Target struct{ Member, Site, Instance, Release string }

// Drains returns what is being drained, with what it still holds: members first,
// then instances, then releases.
func (d *Deployer) Drains() []Drain {
	list := drains(d.o.Catalog.View())
	for i := range list {
		list[i].Loss = d.loss(list[i].held)
	}
	return list
}

func (d *Deployer) loss(held []*catalog.Instance) Loss {
	if d.o.Loss != nil {
		return d.o.Loss(held)
	}
	var l Loss
	for _, in := range held {
		sessions, inflight, known := d.load(in.ID)
		l.Sessions, l.InFlight, l.Recounting = l.Sessions+sessions, l.InFlight+inflight, l.Recounting || !known
	}
	return l
}

// drains lists what a view wants drained.
func drains(v *catalog.View) []Drain {
	var list []Drain
	add := func(x Drain, order *catalog.DrainOrder, holds func(*catalog.Instance) bool) {
		if order != nil {
			x.DrainOrder = *order
		}
		for _, id := range slices.Sorted(maps.Keys(v.Instances)) {
			if in := v.Instances[id]; in.State != catalog.InstanceExited && holds(in) {
				x.held = append(x.held, in)
			}
		}
		x.Instances = len(x.held)
		list = append(list, x)
	}
	for _, name := range slices.Sorted(maps.Keys(v.Members)) {
		if m := v.Members[name]; m.Admission == catalog.Accepted && m.Admin == catalog.AdminDrain {
			add(Drain{Kind: DrainMember, Object: name, Member: name}, m.Drain, func(in *catalog.Instance) bool { return in.Member == name })
		}
	}
	for _, id := range slices.Sorted(maps.Keys(v.Instances)) {
		if in := v.Instances[id]; in.Admin == catalog.AdminDrain {
			add(Drain{Kind: DrainInstance, Object: in.Site + "/" + id, Site: in.Site, Member: in.Member, Release: in.Release, Instance: id},
				in.Drain, func(x *catalog.Instance) bool { return x.ID == id })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.Sites)) {
		for _, r := range v.Sites[name].Retiring {
			add(Drain{Kind: DrainRelease, Object: name + "@" + r.Release[:min(12, len(r.Release))], Site: name, Release: r.Release},
				&catalog.DrainOrder{
					Since: r.Since, By: "portico", Move: r.Move, Deadline: r.Deadline,
					DrainProgress: catalog.DrainProgress{Moved: r.Moved},
				},
				func(in *catalog.Instance) bool { return in.Site == name && in.Release == r.Release })
		}
	}
	return list
}

// Drain begins to empty a target of its sessions, or changes how that is done.
// Of a release it must be a former one: its drain began with the deploy that
// followed it.
func (d *Deployer) Drain(ctx context.Context, t Target, o catalog.DrainOrder) error {
	if o.Since.IsZero() {
		o.Since = time.Now().UTC()
	}
	_, err := d.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		switch {
		case t.Member != "":
			_, err := catalog.DrainMember(tx, t.Member, o)
			return err
		case t.Instance != "":
			_, err := catalog.SetInstanceAdmin(tx, t.Site, t.Instance, catalog.AdminDrain, o)
			return err
		}
		return catalog.OrderRetiring(tx, t.Site, t.Release, o)
	})
	if err != nil {
		return AsError(err)
	}
	d.logger.Info("drain begins", "object", cmp.Or(t.Member, t.Site+"/"+t.Instance+t.Release), "by", o.By, "move", o.Move.String(), "deadline", o.Deadline)
	d.wake()
	return nil
}

// moveEvery is how often quiet sessions of a drain that moves them are looked for.
const moveEvery = 5 * time.Second

// exactEvery is how often the sessions of a drain are counted one by one, which
// reads the whole table.
const exactEvery = 2 * time.Second

// watched is what the controller remembers of one drain. Only the controller's
// goroutine touches it.
type watched struct {
	drain    Drain
	progress catalog.DrainProgress // what the catalog has of it, and what is not written yet
	last     time.Time             // of the last look for quiet sessions
	exact    time.Time             // of the last exact count
}

// watchDrains moves what is to be moved, keeps deadlines, and tells each outcome
// once. It reports whether some drain still waits for its end.
func (d *Deployer) watchDrains(v *catalog.View, now time.Time) (busy bool) {
	present := map[string]bool{}
	for _, x := range drains(v) {
		key := x.Kind + " " + x.Object + " " + x.Since.String()
		present[key] = true
		w := d.drains[key]
		if w == nil {
			w = &watched{progress: x.DrainProgress}
			d.drains[key] = w
		}
		w.drain = x
		busy = d.watchDrain(w, now) || busy
	}
	for key, w := range d.drains {
		if present[key] {
			continue
		}
		delete(d.drains, key)
		if w.drain.Kind != DrainRelease && w.progress.Ended.IsZero() && w.progress.Held {
			d.tell("drain withdrawn", w.drain.Object, "before the last session had ended", now, nil)
		}
	}
	return busy
}

func (d *Deployer) watchDrain(w *watched, now time.Time) (busy bool) {
	x := &w.drain
	sessions, inflight, known := 0, 0, true
	for _, in := range x.held {
		s, f, k := d.load(in.ID)
		sessions, inflight, known = sessions+s, inflight+f, known && k
	}
	// A release is written down only for what moves: its end is told by retire.
	w.progress.Held = w.progress.Held || sessions > 0 && x.Kind != DrainRelease
	// The cheap count lags behind: a session that has ended by idleness leaves it
	// when its turn to be swept comes.
	if sessions > 0 && d.o.Loss != nil && now.Sub(w.exact) >= exactEvery {
		w.exact = now
		sessions = d.o.Loss(x.held).Sessions
	}
	if x.Move > 0 && sessions > 0 && d.o.MoveQuiet != nil && now.Sub(w.last) >= moveEvery {
		w.last = now
		w.progress.Moved += d.o.MoveQuiet(x.held, x.Move.Std())
	}
	over := x.Kind == DrainRelease || !w.progress.Ended.IsZero()
	switch {
	case over:
	case sessions == 0 && inflight == 0 && known && now.Sub(x.Since) >= settleTime:
		w.progress.Ended = now.UTC()
		d.tell("drain ended", x.Object, emptied(x, w.progress.Moved, now), now, w.note)
	case !x.Deadline.IsZero() && !now.Before(x.Deadline):
		w.progress.Ended = now.UTC()
		d.tell("drain ended", x.Object, cutOff(sessions, known), now, func(tx *catalog.Tx) error {
			return catalog.CutDrain(tx, x.Member, x.Instance, x.Since)
		})
	}
	if !w.progress.Equal(x.DrainProgress) && (over || w.progress.Ended.IsZero()) {
		d.update("note drain", w.note)
	}
	return w.progress.Ended.IsZero() && x.Kind != DrainRelease
}

// note writes the progress of a drain.
func (w *watched) note(tx *catalog.Tx) error {
	x := &w.drain
	return catalog.NoteDrain(tx, x.Member, x.Site, x.Instance, x.Release, x.Since, w.progress)
}

// emptied words the outcome of a drain that has ended by itself.
func emptied(x *Drain, moved int, now time.Time) string {
	text := "empty after " + now.Sub(x.Since).Round(time.Second).String()
	if moved > 0 || x.Move > 0 {
		text += fmt.Sprintf("; %d sessions were marked to move", moved)
	}
	return text
}

// cutOff words the outcome of a drain whose time was over. While the proxy counts anew
// there may be more than it knows.
func cutOff(sessions int, known bool) string {
	least := ""
	if !known {
		least = "at least "
	}
	return fmt.Sprintf("at its deadline, with %s%d sessions left: they lose their instance", least, sessions)
}

// tell writes an outcome to the log and the audit, and whatever else belongs to it in
// the same step; also may be nil.
func (d *Deployer) tell(action, object, detail string, now time.Time, also func(tx *catalog.Tx) error) {
	d.logger.Info(action, "object", object, "outcome", detail)
	d.update(action, func(tx *catalog.Tx) error {
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		return tx.Audit(catalog.AuditEntry{ID: catalog.NewID(now), At: now.UTC(), By: "portico", Action: action, Object: object, Detail: detail})
	})
}
