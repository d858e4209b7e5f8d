package proxies

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"portico/internal/refusal"
	"portico/proxy/admin/api"
)

// Change carries out the end or the move of a session; API and page both come here.
func (a *All) Change(ctx context.Context, site, id string, end bool, now time.Time) (api.SessionInfo, error) {
	in, err := a.Session(ctx, site, id)
	if err != nil {
		return in, err
	}
	if in.Ended {
		return in, refusal.New(http.StatusConflict, "conflict", "", "session %s has ended already", in.ID)
	}
	in.Silent = a.markEverywhere(ctx, peerMark{Site: site, ID: in.ID, Instance: in.Instance, Started: in.Started, End: end}, now)
	in.Ended, in.Moving = end, in.Moving || !end
	return in, nil
}

// peerMark ends or moves a session at a proxy.
type peerMark struct {
	Site, ID, Instance string
	Started            time.Time
	End                bool
}

// markEverywhere ends or moves a session at every proxy, as its visitor may come to any.
func (a *All) markEverywhere(ctx context.Context, q peerMark, now time.Time) (silent []string) {
	a.markSession(q, now)
	return eachOther(ctx, a, askMark, q, func(struct{}) {})
}

func (a *All) markSession(q peerMark, now time.Time) {
	p, err := a.Pool(q.Site)
	id, perr := strconv.ParseUint(q.ID, 16, 64)
	if err != nil || perr != nil {
		return
	}
	if u := p.Upstream(q.Instance); u != nil {
		a.Balancer.Sessions().MarkAt(id, u, q.Started.Unix(), q.End, now.UnixMilli())
	}
}
