package recent

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	"portico/proxy/exchange/account"
	"portico/proxy/sticky"
)

// Exchange is a finished request and its answer, as the proxy remembers them for a
// while and the API shows them. Times are milliseconds since the first byte of the request.
type Exchange struct {
	ID       string    `json:"id"` // stands in the access log as well (JSON)
	Time     time.Time `json:"time"`
	Client   string    `json:"client"`
	Frontend string    `json:"frontend"`
	TLS      bool      `json:"tls"`
	Proto    string    `json:"proto"`
	Site     string    `json:"site,omitempty"`
	Instance string    `json:"instance,omitempty"` // "server-1-4f2a11": the last that was tried
	Method   string    `json:"method"`
	Host     string    `json:"host"`
	Path     string    `json:"path"` // without its query; long ones and session tokens are cut
	Status   int       `json:"status"`
	Retries  int       `json:"retries,omitempty"`
	BytesIn  int64     `json:"bytes_in"`
	BytesOut int64     `json:"bytes_out"`
	Total    float64   `json:"total_ms"`
	Lost     string    `json:"session_lost,omitempty"`
	Error    string    `json:"error,omitempty"` // of the last try; those before it are steps
	End      string    `json:"end"`             // HAProxy's termination state
	Failed   bool      `json:"failed"`          // it ended badly, not by the client's own doing
	Steps    []Step    `json:"steps"`
}

// Step is one thing that happened on the way.
type Step struct {
	At   float64 `json:"at_ms"`
	Step string  `json:"step"`
	Text string  `json:"text"`
}

// Query says which exchanges are asked for. The zero value means all.
type Query struct {
	Site   string     // empty: all, also those that met no site
	Failed bool       // that failed, were retried or lost a session
	ID     string     // begins so
	Client netip.Addr // zero: all
	Limit  int        // at most so many; 0: all
}

// Find returns exchanges that ended lately, the latest first. It reads what the
// loops wrote and stops nothing. profile says where a site's applications keep their tokens,
// nil for a site that is gone.
func (r *Exchanges) Find(q Query, profile func(site string) *sticky.Profile) []Exchange {
	list := r.all(func(t *trace) bool {
		return (q.Site == "" || t.Site == q.Site) && (!q.Failed || t.wrong()) && (!q.Client.IsValid() || t.Client.Addr().Unmap() == q.Client.Unmap()) &&
			(q.ID == "" || strings.HasPrefix(string(account.AppendID(nil, t.ID)), q.ID))
	})
	if q.Limit > 0 && len(list) > q.Limit {
		list = list[:q.Limit]
	}
	out := make([]Exchange, len(list))
	for i := range list {
		out[i] = list[i].exchange(profile(list[i].Site))
	}
	return out
}

// exchange words a trace. p is the profile of its site as it is now, nil when it is gone.
func (t *trace) exchange(p *sticky.Profile) Exchange {
	method, host, _ := t.texts()
	e := Exchange{
		ID: string(account.AppendID(nil, t.ID)), Time: t.At.UTC(), Client: t.Client.String(), Frontend: t.Frontend, TLS: t.TLS, Proto: t.Proto,
		Site: t.Site, Method: printable(method), Host: printable(host), Status: t.Status, Retries: t.Retries,
		BytesIn: t.BytesIn, BytesOut: t.BytesOut, Total: ms(t.Total()), Lost: t.lost(), Failed: t.failed(),
	}
	if t.trouble != nil {
		e.Error = t.trouble.err
	}
	if t.Instance != "" {
		e.Instance = account.ServerName(t.Member, t.Instance)
	}
	e.Path = t.shownPath(p)
	for _, c := range t.State {
		e.End += string(rune(cmp.Or(c, '-')))
	}
	e.Steps = t.story(e.Instance)
	return e
}

// shownPath is the path without what opens somebody's session. Where the site is gone,
// nobody knows any more which parts of its paths do.
func (t *trace) shownPath(p *sticky.Profile) string {
	if p == nil && t.Site != "" {
		return "/…"
	}
	_, _, kept := t.texts()
	path := printable(kept)
	if p != nil {
		path = p.Hide(path)
	}
	if int(t.pathLen) == tracedPath {
		path += "…"
	}
	if t.query {
		path += "?…"
	}
	return path
}

// printable writes what a client sent so that it can stand in a terminal.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, string(b))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
