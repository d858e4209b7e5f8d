package apiclient

import (
	"context"

	"portico/deployhook"
	"portico/proxy/admin/api"
)

// Drains returns what is being emptied of its sessions.
func (c *Client) Drains(ctx context.Context) ([]deployhook.Drain, error) {
	return ask[[]deployhook.Drain](ctx, c, "GET", "/v1/drains", nil, nil)
}

// Drain begins to empty a target of its sessions, or changes how that is done.
func (c *Client) Drain(ctx context.Context, t deployhook.Target, r api.DrainRequest) error {
	return c.call(ctx, "POST", drainPath(t, api.VerbDrain), nil, r, nil)
}

// ForecastDrain says what Drain would cut, or leave in peace.
func (c *Client) ForecastDrain(ctx context.Context, t deployhook.Target, r api.DrainRequest) (api.Forecast, error) {
	return ask[api.Forecast](ctx, c, "POST", drainPath(t, api.VerbDrain), dryRun(), r)
}

// ActInstance does one of drain, ready and maint to one instance.
func (c *Client) ActInstance(ctx context.Context, site, instance, verb string) error {
	return c.call(ctx, "POST", drainPath(deployhook.Target{Site: site, Instance: instance}, verb), nil, api.DrainRequest{}, nil)
}

// ForecastInstance says what ActInstance would cut.
func (c *Client) ForecastInstance(ctx context.Context, site, instance, verb string) (api.Forecast, error) {
	return ask[api.Forecast](ctx, c, "POST", drainPath(deployhook.Target{Site: site, Instance: instance}, verb), dryRun(), api.DrainRequest{})
}

func drainPath(t deployhook.Target, verb string) string {
	switch {
	case t.Member != "":
		return "/v1/members/" + segment(t.Member) + "/" + segment(verb)
	case t.Instance != "":
		return "/v1/sites/" + segment(t.Site) + "/instances/" + segment(t.Instance) + "/" + segment(verb)
	}
	return "/v1/sites/" + segment(t.Site) + "/releases/" + segment(t.Release) + "/" + segment(verb)
}

// EndedDrains returns how the last drains ended, the latest first.
func (c *Client) EndedDrains(ctx context.Context) ([]api.DrainOutcome, error) {
	return ask[[]api.DrainOutcome](ctx, c, "GET", "/v1/drains/ended", nil, nil)
}
