package proxies

import (
	"context"
	"slices"
	"strings"
	"time"

	"portico/balancer/figures"
)

// instanceCount is what a proxy holds for an instance.
type instanceCount struct {
	Sessions   int   `json:"sessions"`
	Recent     int64 `json:"recent"`
	InFlight   int   `json:"in_flight"`
	Recounting bool  `json:"recounting,omitempty"`
}

// peerCounts asks for counts.
type peerCounts struct {
	Site string `json:"site,omitempty"` // of whose instances; empty, as earlier versions ask: of all
}

// ownPool is the traffic of this proxy at a site: one pool, or none.
func (a *All) ownPool(site string) []figures.Pool {
	if a.PoolOf == nil {
		return nil
	}
	p, ok := a.PoolOf(site)
	if !ok {
		return nil
	}
	return []figures.Pool{p}
}

// ownCounts is what this proxy holds for each instance of a site; empty: of all.
func (a *All) ownCounts(site string) map[string]instanceCount {
	out := map[string]instanceCount{}
	pools := a.ownPool(site)
	if site == "" && a.Snapshot != nil {
		pools = a.Snapshot().Pools
	}
	for _, p := range pools {
		for i := range p.Upstreams {
			u := &p.Upstreams[i]
			out[u.ID] = instanceCount{Sessions: u.Sessions, Recent: a.recent(u.ID), InFlight: u.InFlight, Recounting: u.Recounting}
		}
	}
	return out
}

// Totals are pools with the sessions and requests of all proxies that answer. A
// session that two proxies have seen lately counts twice.
type Totals struct {
	here   *All
	Pools  []figures.Pool
	others map[string]instanceCount // of the other proxies, by instance
	Silent []string                 // proxies that did not answer
}

// Totals adds to this proxy's pools what the others answer.
func (a *All) Totals(ctx context.Context, pools []figures.Pool) Totals {
	return a.totals(ctx, pools, "")
}

// TotalsOf is Totals of the one pool of a site; none is served: of none.
func (a *All) TotalsOf(ctx context.Context, site string) Totals {
	return a.totals(ctx, a.ownPool(site), site)
}

func (a *All) totals(ctx context.Context, pools []figures.Pool, site string) Totals {
	t := Totals{here: a, Pools: pools, others: map[string]instanceCount{}}
	t.Silent = eachOther(ctx, a, askCounts, peerCounts{site}, func(counts map[string]instanceCount) {
		for id, n := range counts {
			sum := t.others[id]
			sum.Sessions, sum.Recent, sum.InFlight = sum.Sessions+n.Sessions, sum.Recent+n.Recent, sum.InFlight+n.InFlight
			sum.Recounting = sum.Recounting || n.Recounting
			t.others[id] = sum
		}
	})
	if len(t.others) == 0 && len(t.Silent) == 0 {
		return t
	}
	for i := range t.Pools {
		p := &t.Pools[i]
		p.Upstreams = slices.Clone(p.Upstreams)
		for j := range p.Upstreams {
			u := &p.Upstreams[j]
			n := t.others[u.ID]
			u.Sessions, u.InFlight = u.Sessions+n.Sessions, u.InFlight+n.InFlight
			u.Recounting = u.Recounting || n.Recounting || len(t.Silent) > 0
			p.Sessions, p.InFlight = p.Sessions+n.Sessions, p.InFlight+n.InFlight
			p.Recounting = p.Recounting || u.Recounting
		}
	}
	return t
}

// Note says what is missing in the sums.
func (t *Totals) Note() []string {
	if len(t.Silent) == 0 {
		return nil
	}
	return []string{unheard(t.Silent)}
}

func unheard(silent []string) string {
	return "no answer from " + strings.Join(silent, ", ") + ": there may be more sessions"
}

// Recent counts an instance's sessions that were used a short time ago.
func (t *Totals) Recent(instance string) int64 {
	return t.here.recent(instance) + t.others[instance].Recent
}

// Counting reports whether a proxy that answers has not been up for long enough to have
// seen all sessions of an instance.
func (t *Totals) Counting(site, instance string) bool {
	return t.here.recounting(site, instance) || t.others[instance].Recounting
}

// recentlyUsed is what a forecast calls recent.
const recentlyUsed = 5 * time.Minute

func (a *All) recent(instance string) int64 {
	if a.UsedWithin == nil {
		return 0
	}
	return int64(a.UsedWithin(instance, recentlyUsed))
}

// recounting reports whether an instance may have sessions that this proxy has not seen.
func (a *All) recounting(site, instance string) bool {
	if a.Balancer == nil {
		return false
	}
	p := a.Balancer.Pool(site)
	if p == nil {
		return false
	}
	_, _, known := p.Load(instance, a.Now().UnixMilli())
	return !known
}
