package apiclient

import (
	"context"
	"encoding/json"
	"io"
	"net/url"
	"strconv"
	"time"

	"portico/deployhook/logs"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
	"portico/proxy/recent"
)

// Stats returns what the proxy counts.
func (c *Client) Stats(ctx context.Context) (api.Stats, error) {
	return ask[api.Stats](ctx, c, "GET", "/v1/stats", nil, nil)
}

// StatsCSV writes HAProxy's CSV to w.
func (c *Client) StatsCSV(ctx context.Context, w io.Writer) error {
	return c.stream(ctx, "/stats;csv", nil, w)
}

// Explain returns, as JSON, where a request would go and why.
func (c *Client) Explain(ctx context.Context, q api.ExplainQuery) (json.RawMessage, error) {
	var out json.RawMessage
	query := params("url", q.URL, "method", q.Method, "cookie", q.Cookie, "from", q.From)
	for _, h := range q.Header {
		query.Add("header", h)
	}
	return out, c.call(ctx, "GET", "/v1/explain", query, nil, &out)
}

// Exchanges returns what the proxy remembers of requests that have ended, the
// latest first.
func (c *Client) Exchanges(ctx context.Context, q api.ExchangeQuery) ([]recent.Exchange, error) {
	var out []recent.Exchange
	query := params("site", q.Site, "id", q.ID, "client", q.Client)
	if q.Failed {
		query.Set("failed", "1")
	}
	if q.Limit > 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	return out, c.call(ctx, "GET", "/v1/requests", query, nil, &out)
}

// Logs copies the logs of a site to w. Lines below 0 are as many as there are without a word.
func (c *Client) Logs(ctx context.Context, q logs.Query, w io.Writer) error {
	query := params("member", q.Member, "instance", q.Instance, "release", q.Release)
	if q.Lines >= 0 {
		query.Set("tail", strconv.Itoa(q.Lines))
	}
	if !q.Since.IsZero() {
		query.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if q.JSON {
		query.Set("format", "json")
	}
	if q.Follow {
		query.Set("follow", "1")
	}
	return c.stream(ctx, "/v1/sites/"+segment(q.Site)+"/logs", query, w)
}

// Audit returns the newest entries of the audit log.
func (c *Client) Audit(ctx context.Context, limit int) ([]catalog.AuditEntry, error) {
	return ask[[]catalog.AuditEntry](ctx, c, "GET", "/v1/audit", params("limit", strconv.Itoa(limit)), nil)
}

// Backup writes a backup of the catalog to w.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	return c.stream(ctx, "/v1/backup", nil, w)
}

// ExportHAProxy returns haproxy.cfg.
func (c *Client) ExportHAProxy(ctx context.Context, r api.ExportRequest) (api.Export, error) {
	return ask[api.Export](ctx, c, "GET", "/v1/export/haproxy", exportQuery(r), nil)
}

// ExportHAProxyBundle also returns the files that haproxy.cfg names: the
// cluster's authority, and a certificate for the key that signed b.CSR, with
// which HAProxy may talk to agents. Administrators only.
func (c *Client) ExportHAProxyBundle(ctx context.Context, r api.ExportRequest, b api.ExportBundleRequest) (api.Export, error) {
	return ask[api.Export](ctx, c, "POST", "/v1/export/haproxy", exportQuery(r), b)
}

func exportQuery(r api.ExportRequest) url.Values {
	q := params("dir", r.Dir, "certs", r.Certs, "http", r.HTTP, "https", r.HTTPS, "stats", r.Stats)
	q.Set("format", "json")
	if r.Bare {
		q.Set("bare", "1")
	}
	return q
}
