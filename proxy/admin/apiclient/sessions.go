package apiclient

import (
	"context"
	"strconv"
	"time"

	"portico/proxy/admin/api"
)

// SessionQuery says which sessions are asked for. Empty fields match all.
type SessionQuery struct {
	Member, Instance, Release, ID string        // of the last three, the beginning will do
	Cookie                        string        // the session that a sticky cookie names: its value, or a whole Cookie field
	Token                         string        // the session that the application's own token names
	Idle                          time.Duration // not used for this long
	Limit                         int           // 0: 100
}

// Sessions returns the live sessions of each instance; an empty site means all.
func (c *Client) Sessions(ctx context.Context, site string) ([]api.SessionCount, error) {
	return ask[[]api.SessionCount](ctx, c, "GET", "/v1/sessions", params("site", site), nil)
}

// ListSessions returns sessions of a site, the most recently used first.
func (c *Client) ListSessions(ctx context.Context, site string, q SessionQuery) (api.SessionList, error) {
	var out api.SessionList
	query := params("member", q.Member, "instance", q.Instance, "release", q.Release, "id", q.ID, "cookie", q.Cookie, "token", q.Token)
	if q.Idle > 0 {
		query.Set("idle", q.Idle.String())
	}
	if q.Limit > 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	return out, c.call(ctx, "GET", "/v1/sessions/"+segment(site), query, nil, &out)
}

// EndSession ends a session: its visitor begins anew with the next request.
func (c *Client) EndSession(ctx context.Context, site, id string) (api.SessionInfo, error) {
	return ask[api.SessionInfo](ctx, c, "POST", "/v1/sessions/"+segment(site)+"/"+segment(id)+"/end", nil, struct{}{})
}

// MoveSession has a session's next request placed on another instance.
func (c *Client) MoveSession(ctx context.Context, site, id string) (api.SessionInfo, error) {
	return ask[api.SessionInfo](ctx, c, "POST", "/v1/sessions/"+segment(site)+"/"+segment(id)+"/move", nil, struct{}{})
}
