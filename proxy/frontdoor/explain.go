package frontdoor

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"portico/proxy/admin/api"
	"portico/proxy/explain"
	"portico/proxy/recent"
)

// explain hands a question to the data path.
func (p *Proxy) explain(q api.ExplainQuery) (any, error) {
	ask := explain.Ask{URL: q.URL, Method: q.Method, Cookie: q.Cookie, Header: http.Header{}}
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
	steps, err := p.web.Explain(ask)
	if err == nil && p.deployer.Others() > 0 {
		steps = slices.Insert(steps, 0, explain.Step{
			Step: "proxy", Result: p.conf.Proxy.Name, Detail: "as this proxy sees it: checks, load, queues and limits are each proxy's own",
		})
	}
	if i := slices.IndexFunc(steps, func(s explain.Step) bool { return s.Step == "site" }); i >= 0 {
		steps = slices.Insert(steps, i+1, append(p.placement(steps[i].Result), p.certificateStep(steps)...)...)
	}
	return steps, err
}

// certificateStep explains how the certificate of the host that is asked for stands.
func (p *Proxy) certificateStep(steps []explain.Step) []explain.Step {
	i := slices.IndexFunc(steps, func(s explain.Step) bool { return s.Step == "host" })
	if i < 0 {
		return nil
	}
	host := steps[i].Result
	_, parent, _ := strings.Cut(host, ".")
	list := p.certificatesOf([]string{host, "*." + parent})
	if len(list) == 0 {
		return nil
	}
	c := &list[0]
	return []explain.Step{{Step: "certificate", Result: c.State, Detail: strings.TrimPrefix(c.Text(time.Now()), c.State+": ")}}
}

// placement explains on which application servers a site is, where not on all.
func (p *Proxy) placement(name string) []explain.Step {
	v := p.catalog.View()
	site := v.Sites[name]
	if site == nil {
		return nil
	}
	settings, err := site.Effective()
	if err != nil || len(settings.Servers) == 0 {
		return nil
	}
	step := explain.Step{Step: "servers", Result: strings.Join(settings.Servers, ", ")}
	var names []string
	for _, m := range v.Servers(settings) {
		names = append(names, m.Name)
	}
	step.Detail = "servers of the site: it belongs on " + strings.Join(names, ", ")
	if len(names) == 0 {
		step.Detail = fmt.Sprintf("no accepted application server has such a label or name: portico members label MEMBER %s", settings.Servers[0])
	}
	return []explain.Step{step}
}

// exchanges returns what the data path remembers of requests.
func (p *Proxy) exchanges(q api.ExchangeQuery) []recent.Exchange {
	in := recent.Query{Site: q.Site, Failed: q.Failed, ID: q.ID, Limit: q.Limit}
	in.Client, _ = netip.ParseAddr(q.Client) // zero: of all
	return p.web.Recent(in)
}
