package admin

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"portico/internal/refusal"
	"portico/proxy/admin/access"
	"portico/proxy/admin/api"
	"portico/proxy/recent"
)

// explain answers GET /v1/explain.
func (s *Server) explain(c *call) error {
	if s.o.Explain == nil {
		return refusal.NotOffered("explanation")
	}
	q := c.r.URL.Query()
	if q.Get("url") == "" {
		return refusal.BadRequest("add ?url=https://host/path", "no url")
	}
	in := api.ExplainQuery{URL: q.Get("url"), Method: strings.ToUpper(q.Get("method")), Header: q["header"], Cookie: q.Get("cookie"), From: q.Get("from")}
	out, err := s.o.Explain(in)
	if err != nil {
		return refusal.BadRequest("", "%v", err)
	}
	return c.json(http.StatusOK, out)
}

const (
	defaultExchanges = 50
	maxExchanges     = 5000
)

// listExchanges answers GET /v1/requests: what the proxy remembers of requests that
// have ended.
func (s *Server) listExchanges(c *call) error {
	q := c.r.URL.Query()
	in := api.ExchangeQuery{Site: q.Get("site"), Failed: q.Get("failed") == "1", ID: strings.ToLower(q.Get("id")), Client: q.Get("client"), Limit: defaultExchanges}
	if text := q.Get("limit"); text != "" {
		var err error
		if in.Limit, err = strconv.Atoi(text); err != nil || in.Limit < 1 || in.Limit > maxExchanges {
			return refusal.BadRequest(fmt.Sprintf("use 1 to %d", maxExchanges), "limit %q", text)
		}
	}
	if _, err := netip.ParseAddr(in.Client); in.Client != "" && err != nil {
		return refusal.BadRequest("write an address without port, such as 192.0.2.7", "client %q is no address", api.Bounded(in.Client, 60))
	}
	if in.Site != "" && (!c.who.Sees(in.Site) || s.o.Catalog.View().Sites[in.Site] == nil && (s.o.Balancer == nil || s.o.Balancer.Pool(in.Site) == nil)) {
		return s.all.NoSite(in.Site)
	}
	out, err := s.exchanges(c.who, in)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, out)
}

// exchanges returns the remembered requests that the caller may see.
func (s *Server) exchanges(who *access.Identity, q api.ExchangeQuery) ([]recent.Exchange, error) {
	if s.o.Exchanges == nil {
		return nil, refusal.NotOffered("a memory of requests")
	}
	limit := q.Limit
	if len(who.Sites) > 0 {
		q.Limit = 0 // cut below, after the others' were left out
	}
	out := []recent.Exchange{}
	for _, e := range s.o.Exchanges(q) {
		if (len(who.Sites) == 0 || e.Site != "" && who.Sees(e.Site)) && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, nil
}
