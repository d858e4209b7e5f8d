package proxies

import (
	"context"
	"slices"
	"strings"
	"time"

	"portico/balancer"
	"portico/membership/catalog/ids"
	"portico/proxy/admin/api"
)

// MaxSessions is how many sessions a list may have.
const MaxSessions = 10000

// Filter says which sessions are wanted; empty fields match all.
type Filter struct {
	Member, Instance, Release, ID string // of the last three, the beginning
	Idle                          time.Duration
	Limit                         int
}

// List lists sessions of all proxies; one that several have seen stands
// there once, as who saw it last has it.
func (a *All) List(ctx context.Context, p *balancer.Pool, f Filter, now time.Time) api.SessionList {
	if a.Ask == nil {
		return a.listed(p, f, now)
	}
	wide := f
	wide.Limit = MaxSessions // more than are shown, so that who was seen twice is found out
	out := a.listed(p, wide, now)
	silent := eachOther(ctx, a, askSessions, peerSessions{p.Name(), wide}, func(more api.SessionList) { out = merged(out, more) })
	if len(silent) > 0 {
		out.Recounting = true
		out.Note = unheard(silent)
	}
	out.Sessions = out.Sessions[:min(len(out.Sessions), f.Limit)]
	return out
}

// merged puts two proxies' lists together.
func merged(a, b api.SessionList) api.SessionList {
	at := make(map[string]int, len(a.Sessions))
	for i, in := range a.Sessions {
		at[in.ID] = i
	}
	both := 0
	for _, in := range b.Sessions {
		i, known := at[in.ID]
		if !known {
			a.Sessions = append(a.Sessions, in)
			continue
		}
		both++
		have := &a.Sessions[i]
		ended, moving, returned := have.Ended || in.Ended, have.Moving || in.Moving, have.Returned || in.Returned
		if in.Used.After(have.Used) {
			*have = in
		}
		have.Ended, have.Moving, have.Returned = ended, moving, returned
	}
	slices.SortStableFunc(a.Sessions, func(x, y api.SessionInfo) int { return y.Used.Compare(x.Used) })
	a.Total, a.Recounting = a.Total+b.Total-both, a.Recounting || b.Recounting
	return a
}

// peerSessions asks for a list.
type peerSessions struct {
	Site string
	Filter
}

// listed lists sessions of a pool, the most recently used first.
func (a *All) listed(p *balancer.Pool, f Filter, now time.Time) api.SessionList {
	latest := now.Add(-f.Idle).Unix()
	list, total := a.Balancer.Sessions().List(p.Name(), f.Limit, func(in *balancer.SessionInfo) bool {
		spec := in.Upstream.Spec()
		return in.Last <= latest && (f.Member == "" || spec.Member == f.Member) &&
			strings.HasPrefix(spec.ID, f.Instance) && ids.NamesRelease(f.Release, spec.Release) &&
			(f.ID == "" || strings.HasPrefix(SessionID(in.ID), f.ID))
	})
	out := api.SessionList{Site: p.Name(), Total: total, Sessions: make([]api.SessionInfo, 0, len(list))}
	for _, u := range p.Upstreams() {
		_, _, known := p.Load(u.ID(), now.UnixMilli())
		out.Recounting = out.Recounting || !known
	}
	for i := range list {
		out.Sessions = append(out.Sessions, sessionInfo(&list[i]))
	}
	return out
}

func sessionInfo(in *balancer.SessionInfo) api.SessionInfo {
	spec := in.Upstream.Spec()
	return api.SessionInfo{
		ID: SessionID(in.ID), Instance: spec.ID, Member: spec.Member, Release: spec.Release,
		Started: time.Unix(in.Start, 0).UTC(), Used: time.Unix(in.Last, 0).UTC(),
		Returned: in.Returned, Ended: in.Ended, Moving: in.Moving,
	}
}
