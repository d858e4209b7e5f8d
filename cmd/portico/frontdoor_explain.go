package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"portico/proxy"
	"portico/proxy/admin"
)

// explain hands a question to the data path.
func (f *frontDoor) explain(q admin.ExplainQuery) (any, error) {
	ask := proxy.Ask{URL: q.URL, Method: q.Method, Cookie: q.Cookie, Header: http.Header{}}
	for _, line := range q.Header {
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("header %q: write \"Name: value\"", line)
		}
		ask.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if q.From != "" {
		var err error
		if ask.From, err = netip.ParseAddr(q.From); err != nil {
			return nil, fmt.Errorf("from %q: write an address without port, such as 192.0.2.7", q.From)
		}
	}
	steps, err := f.web.Explain(ask)
	if err == nil && f.deployer.Others() > 0 {
		steps = slices.Insert(steps, 0, proxy.Step{
			Step: "proxy", Result: f.conf.Proxy.Name, Detail: "as this proxy sees it: checks, load, queues and limits are each proxy's own",
		})
	}
	return steps, err
}

// exchanges returns what the data path remembers of requests.
func (f *frontDoor) exchanges(q admin.ExchangeQuery) []admin.Exchange {
	in := proxy.RecentQuery{Site: q.Site, Failed: q.Failed, ID: q.ID, Limit: q.Limit}
	in.Client, _ = netip.ParseAddr(q.Client) // zero: of all
	list := f.web.Recent(in)
	out := make([]admin.Exchange, len(list))
	for i, e := range list {
		out[i] = admin.Exchange{
			ID: e.ID, Time: e.Time, Client: e.Client, Frontend: e.Frontend, TLS: e.TLS, Proto: e.Proto, Site: e.Site, Instance: e.Instance,
			Method: e.Method, Host: e.Host, Path: e.Path, Status: e.Status, Retries: e.Retries, BytesIn: e.BytesIn, BytesOut: e.BytesOut,
			Total: e.Total, Lost: e.Lost, Error: e.Error, End: e.End, Failed: e.Failed,
		}
		for _, s := range e.Steps {
			out[i].Steps = append(out[i].Steps, admin.ExchangeStep(s))
		}
	}
	return out
}
