package proxies

import (
	"context"
	"encoding/json"
	"time"

	"portico/balancer"
	"portico/balancer/figures"
	"portico/deployhook"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

// All are what the proxies of the cluster know together: this one by itself, the others
// when they are asked.
type All struct {
	Catalog  *catalog.Catalog
	Balancer *balancer.Balancer // nil: there are no sessions
	Now      func() time.Time

	Snapshot    func() figures.Proxy                              // traffic of this proxy; nil: none
	PoolOf      func(site string) (figures.Pool, bool)            // traffic of this proxy at one site; nil: none
	UsedWithin  func(instanceID string, within time.Duration) int // sessions of an instance here; nil: none
	EndedDrains func() []deployhook.EndedDrain                    // of this proxy; nil: none

	// Ask puts a question to the other proxies, whose Answer answers it; nil: there are none.
	Ask func(ctx context.Context, what string, in any) []deployhook.OtherAnswer
}

// What proxies ask one another.
const (
	askCounts   = "counts"   // sessions and requests of each instance
	askSessions = "sessions" // a list of sessions
	askSession  = "session"  // one session by its id
	askSeek     = "seek"     // one by a cookie or token
	askMark     = "mark"     // end or move one
	askMoved    = "moved"    // tells which sessions have moved
	askEnded    = "ended"    // how drains have ended
)

// Answer answers another proxy of the cluster. Who asks has been checked.
func (a *All) Answer(what string, in json.RawMessage) (any, error) {
	switch what {
	case askCounts:
		return answerPeer(in, func(q peerCounts) (any, error) { return a.ownCounts(q.Site), nil })
	case askSessions:
		return answerPeer(in, func(q peerSessions) (any, error) {
			p, err := a.Pool(q.Site)
			if err != nil {
				return api.SessionList{Site: q.Site}, nil
			}
			q.Limit = min(max(q.Limit, 1), MaxSessions)
			return a.listed(p, q.Filter, a.Now()), nil
		})
	case askSession:
		return answerPeer(in, func(q peerSession) (any, error) {
			found, err := a.sessionOf(q.Site, q.ID)
			if err != nil {
				return nil, err
			}
			return sessionInfo(&found), nil
		})
	case askSeek:
		return answerPeer(in, func(q peerSeek) (any, error) {
			p, err := a.Pool(q.Site)
			if err != nil {
				return nil, err
			}
			return a.seekSession(p, q.Cookie, q.Token, a.Now()), nil
		})
	case askEnded:
		if a.EndedDrains == nil {
			return []deployhook.EndedDrain{}, nil
		}
		return a.EndedDrains(), nil
	case askMark:
		return answerPeer(in, func(q peerMark) (any, error) { a.markSession(q, a.Now()); return struct{}{}, nil })
	case askMoved:
		return answerPeer(in, func(q []Moved) (any, error) { a.takeMoved(q); return struct{}{}, nil })
	}
	return nil, refusal.NotFound("", "proxies do not answer %q", what)
}

func answerPeer[T any](in json.RawMessage, answer func(T) (any, error)) (any, error) {
	var q T
	if err := json.Unmarshal(in, &q); err != nil {
		return nil, refusal.BadRequest("", "read question: %v", err)
	}
	return answer(q)
}

// eachOther asks the other proxies and gives take what each answers; it returns the names
// of those that did not.
func eachOther[T any](ctx context.Context, a *All, what string, in any, take func(T)) (silent []string) {
	if a.Ask == nil {
		return nil
	}
	for _, got := range a.Ask(ctx, what, in) {
		var out T
		if got.Err != nil || json.Unmarshal(got.Body, &out) != nil {
			silent = append(silent, got.Proxy)
			continue
		}
		take(out)
	}
	return silent
}
