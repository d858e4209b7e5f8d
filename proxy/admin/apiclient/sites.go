package apiclient

import (
	"context"
	"encoding/json"

	"portico/proxy/admin/api"
)

// Sites returns all sites that the token may see.
func (c *Client) Sites(ctx context.Context) ([]api.SiteInfo, error) {
	return ask[[]api.SiteInfo](ctx, c, "GET", "/v1/sites", nil, nil)
}

// Site returns one site.
func (c *Client) Site(ctx context.Context, name string) (api.SiteInfo, error) {
	return ask[api.SiteInfo](ctx, c, "GET", "/v1/sites/"+segment(name), nil, nil)
}

// SetSite merges a JSON object with any subset of sites.Settings into what
// operators have set for a site; a field of null goes back to the archive's.
func (c *Client) SetSite(ctx context.Context, name string, override json.RawMessage) (api.SiteInfo, error) {
	return ask[api.SiteInfo](ctx, c, "POST", "/v1/sites/"+segment(name), nil, override)
}

// ForecastSet says where SetSite would move the site.
func (c *Client) ForecastSet(ctx context.Context, name string, override json.RawMessage) (api.Forecast, error) {
	return ask[api.Forecast](ctx, c, "POST", "/v1/sites/"+segment(name), dryRun(), override)
}

// RemoveSite takes a site away from all application servers.
func (c *Client) RemoveSite(ctx context.Context, name string) error {
	return c.call(ctx, "DELETE", "/v1/sites/"+segment(name), nil, nil, nil)
}

// ForecastRemove says what RemoveSite would cut.
func (c *Client) ForecastRemove(ctx context.Context, name string) (api.Forecast, error) {
	return ask[api.Forecast](ctx, c, "DELETE", "/v1/sites/"+segment(name), dryRun(), nil)
}

// Hosts returns who has which hosts.
func (c *Client) Hosts(ctx context.Context) ([]api.HostInfo, error) {
	return ask[[]api.HostInfo](ctx, c, "GET", "/v1/hosts", nil, nil)
}

// ChangeHost does a verb (share, unshare, move) on a host for a site.
func (c *Client) ChangeHost(ctx context.Context, verb, host, site string) ([]api.HostInfo, error) {
	return ask[[]api.HostInfo](ctx, c, "POST", "/v1/hosts/"+segment(host)+"/"+verb, nil, api.HostRequest{Site: site})
}
