package proxies

import (
	"context"
	"strconv"
	"time"

	"portico/balancer"
	"portico/membership/catalog"
)

// Moved is a session that a proxy has placed on another instance.
type Moved struct {
	ID       string    `json:"id"`
	Instance string    `json:"instance"`
	At       time.Time `json:"at"`
}

// TellMoved tells the other proxies where sessions are now, so that nobody waits for them
// where they were.
func (a *All) TellMoved(ctx context.Context, list []Moved) {
	eachOther(ctx, a, askMoved, list, func(struct{}) {})
}

// takeMoved notes where another proxy has placed sessions.
func (a *All) takeMoved(list []Moved) {
	if a.Balancer == nil {
		return
	}
	view := a.Catalog.View()
	for _, m := range list {
		id, err := strconv.ParseUint(m.ID, 16, 64)
		if err != nil {
			continue
		}
		a.Balancer.Sessions().Elsewhere(id, a.upstream(view, m.Instance), m.At.UnixMilli())
	}
}

// upstream is the balancer's of an instance, or nil.
func (a *All) upstream(view *catalog.View, instance string) *balancer.Upstream {
	in := view.Instances[instance]
	if in == nil {
		return nil
	}
	p := a.Balancer.Pool(in.Site)
	if p == nil {
		return nil
	}
	return p.Upstream(instance)
}
