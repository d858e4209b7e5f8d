package proxies

import (
	"context"
	"fmt"
	"strconv"

	"portico/balancer"
	"portico/internal/refusal"
	"portico/proxy/admin/api"
)

// Session returns a site's session by its id, from whichever proxy knows it.
func (a *All) Session(ctx context.Context, site, id string) (api.SessionInfo, error) {
	in, err := a.sessionOf(site, id)
	if err == nil {
		return sessionInfo(&in), nil
	}
	var found *api.SessionInfo
	eachOther(ctx, a, askSession, peerSession{site, id}, func(more api.SessionInfo) {
		if found == nil || more.Used.After(found.Used) {
			found = &more
		}
	})
	if found == nil {
		return api.SessionInfo{}, err
	}
	return *found, nil
}

// peerSession asks for one session.
type peerSession struct{ Site, ID string }

// sessionOf returns a site's session by its id.
func (a *All) sessionOf(site, text string) (balancer.SessionInfo, error) {
	p, err := a.Pool(site)
	if err != nil {
		return balancer.SessionInfo{}, err
	}
	id, err := strconv.ParseUint(text, 16, 64)
	if err != nil || len(text) != 16 {
		return balancer.SessionInfo{}, refusal.BadRequest("portico sessions SITE --list shows them", "%q is no session id: 16 hexadecimal digits", api.Bounded(text, 40))
	}
	in, ok := a.Balancer.Sessions().Find(id)
	if !ok || in.Upstream == nil || p.Upstream(in.Upstream.ID()) != in.Upstream {
		return balancer.SessionInfo{}, refusal.NotFound("it may have ended, or not have come back since this proxy started", "site %q has no session %s", site, text)
	}
	return in, nil
}

// SessionID writes a session's number as people and URLs see it: 16 hexadecimal
// digits. It opens nothing: the cookie's seal does.
func SessionID(id uint64) string { return fmt.Sprintf("%016x", id) }
