package deployhook

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"portico/deployhook/reply"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/membership/catalog/ids"
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
	Recounting bool           `json:"recounting,omitempty"` // there may be more: a proxy has not been up for long, or does not answer
	Silent     []string       `json:"silent,omitempty"`     // proxies that did not answer
	Unheard    []Unheard      `json:"unheard,omitempty"`    // former processes of proxies whose streams may lead here
}

// Unheard is a former process of a proxy that has streams, and no line to the present process to say where they lead.
type Unheard struct {
	Proxy   string    `json:"proxy"`
	PID     int       `json:"pid"`
	Streams int       `json:"streams"`
	Until   time.Time `json:"until"` // it ends by then, whatever it has
}

// Text says what is waited for, how long at most, and what ends the wait.
func (u Unheard) Text(now time.Time) string {
	streams := "a stream"
	if u.Streams != 1 {
		streams = fmt.Sprintf("%d streams", u.Streams)
	}
	return fmt.Sprintf("%s of an old process of %s (pid %d), which has no line to the present one, may lead here: it ends in %v at most (proxy.timeouts.tunnels), or when it is told to, by kill %d there, which cuts them",
		streams, u.Proxy, u.PID, max(0, u.Until.Sub(now).Round(time.Minute)), u.PID)
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

	held   []*catalog.Instance
	exited []*catalog.Instance // that the catalog still has
}

// Target names what an order is for: a member, or a site's instance or release.
type Target struct{ Member, Site, Instance, Release string }

// String writes t as the command takes it: MEMBER, SITE/INSTANCE or SITE@RELEASE.
func (t Target) String() string {
	switch {
	case t.Member != "":
		return t.Member
	case t.Instance != "":
		return t.Site + "/" + t.Instance
	}
	return t.Site + "@" + t.Release
}

// Drains returns what is being drained, with what it still holds at all proxies: members
// first, then instances, then releases. It asks the other proxies, which takes a second and
// a half at most.
func (d *Deployer) Drains() []Drain {
	v := d.o.Catalog.View()
	list := drains(v)
	for i := range list {
		list[i].Loss = d.loss(list[i].held)
	}
	d.withOthers(d.ctx, v, list)
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
	add := func(x Drain, order *catalog.DrainOrder, instances []*catalog.Instance) {
		if order != nil {
			x.DrainOrder = *order
		}
		for _, in := range instances {
			if in.State == catalog.InstanceExited {
				x.exited = append(x.exited, in)
			} else {
				x.held = append(x.held, in)
			}
		}
		x.Instances = len(x.held)
		list = append(list, x)
	}
	draining, ofMember := []*catalog.Instance(nil), map[string][]*catalog.Instance{}
	for _, in := range v.Instances {
		if in.Admin == catalog.AdminDrain {
			draining = append(draining, in)
		}
		if m := v.Members[in.Member]; m != nil && m.Admin == catalog.AdminDrain {
			ofMember[in.Member] = append(ofMember[in.Member], in)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.Members)) {
		if m := v.Members[name]; m.Admission == catalog.Accepted && m.Admin == catalog.AdminDrain {
			add(Drain{Kind: DrainMember, Object: name, Member: name}, m.Drain, byID(ofMember[name]))
		}
	}
	for _, in := range byID(draining) {
		add(Drain{Kind: DrainInstance, Object: in.Site + "/" + in.ID, Site: in.Site, Member: in.Member, Release: in.Release, Instance: in.ID},
			in.Drain, []*catalog.Instance{in})
	}
	var retiring []string
	for name, site := range v.Sites {
		if len(site.Retiring) > 0 {
			retiring = append(retiring, name)
		}
	}
	slices.Sort(retiring)
	for _, name := range retiring {
		for _, r := range v.Sites[name].Retiring {
			add(releaseDrain(name, r), nil, slices.DeleteFunc(v.InstancesOf(name), func(in *catalog.Instance) bool { return in.Release != r.Release }))
		}
	}
	return list
}

// byID sorts instances.
func byID(list []*catalog.Instance) []*catalog.Instance {
	slices.SortFunc(list, func(a, b *catalog.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// releaseDrain is the drain of a former release, without what it holds.
func releaseDrain(site string, r catalog.Retiring) Drain {
	return Drain{
		Kind: DrainRelease, Object: site + "@" + ids.ShortRelease(r.Release), Site: site, Release: r.Release,
		DrainOrder: catalog.DrainOrder{
			Since: r.Since, By: "portico", Move: r.Move, Deadline: r.Deadline,
			DrainProgress: catalog.DrainProgress{Moved: r.Moved, Lost: r.Lost, Cause: r.Cause, Left: r.Left},
		},
	}
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
			_, err := command.DrainMember(tx, t.Member, o)
			return err
		case t.Instance != "":
			_, err := command.SetInstanceAdmin(tx, t.Site, t.Instance, catalog.AdminDrain, o)
			return err
		}
		return command.OrderRetiring(tx, t.Site, t.Release, o)
	})
	if err != nil {
		return reply.RefusalOf(err)
	}
	told := []any{"object", t.String(), "by", o.By}
	if o.Move > 0 {
		told = append(told, "move", o.Move.String())
	}
	if !o.Deadline.IsZero() {
		told = append(told, "deadline", o.Deadline)
	}
	d.logger.Info("drain begins", told...)
	d.wake()
	return nil
}
