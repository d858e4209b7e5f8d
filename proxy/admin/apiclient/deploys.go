package apiclient

import (
	"context"
	"net/url"

	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

// Releases returns the releases of a site that can be rolled back to, newest
// first.
func (c *Client) Releases(ctx context.Context, site string) ([]api.ReleaseInfo, error) {
	return ask[[]api.ReleaseInfo](ctx, c, "GET", "/v1/sites/"+segment(site)+"/releases", nil, nil)
}

// Rollback begins a deploy of a former release; empty means the previous one.
func (c *Client) Rollback(ctx context.Context, site, release string, noPin bool) (catalog.Deploy, error) {
	return ask[catalog.Deploy](ctx, c, "POST", "/v1/sites/"+segment(site)+"/rollback", nil, api.RollbackRequest{Release: release, NoPin: noPin})
}

// ForecastRollback says which sessions would stay on the present release, or with
// noPin which would be cut.
func (c *Client) ForecastRollback(ctx context.Context, site, release string, noPin bool) (api.Forecast, error) {
	return ask[api.Forecast](ctx, c, "POST", "/v1/sites/"+segment(site)+"/rollback", dryRun(), api.RollbackRequest{Release: release, NoPin: noPin})
}

// ForecastDeploy says which sessions a deploy of site would leave on the
// present release, or with noPin which it would cut.
func (c *Client) ForecastDeploy(ctx context.Context, site string, noPin bool) (api.Forecast, error) {
	var out api.Forecast
	query := url.Values{}
	if noPin {
		query.Set("no_pin", "1")
	}
	return out, c.call(ctx, "GET", "/v1/sites/"+segment(site)+"/forecast", query, nil, &out)
}

// Deploys returns the last deploys, newest first; an empty site means all.
func (c *Client) Deploys(ctx context.Context, site string) ([]catalog.Deploy, error) {
	return ask[[]catalog.Deploy](ctx, c, "GET", "/v1/deploys", params("site", site), nil)
}

// Deploy returns one deploy.
func (c *Client) Deploy(ctx context.Context, id string) (catalog.Deploy, error) {
	return ask[catalog.Deploy](ctx, c, "GET", "/v1/deploys/"+segment(id), nil, nil)
}

// CancelDeploy ends the running deploy of a site; the release before it stays.
func (c *Client) CancelDeploy(ctx context.Context, site string) (catalog.Deploy, error) {
	return ask[catalog.Deploy](ctx, c, "POST", "/v1/sites/"+segment(site)+"/cancel", nil, struct{}{})
}
