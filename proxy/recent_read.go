package proxy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"portico/proxy/accesslog"
	"portico/proxy/exchange"
	"portico/proxy/fault"
	"portico/proxy/http1"
)

// Exchange is one request and its answer as they are remembered for a while; package
// admin says how it is written as JSON.
// Times are milliseconds since the first byte of the request.
type Exchange struct {
	ID       string // stands in the access log as well (JSON)
	Time     time.Time
	Client   string
	Frontend string
	TLS      bool
	Proto    string
	Site     string
	Instance string // "server-1-4f2a11": the last that was tried
	Method   string
	Host     string
	Path     string // without its query; long ones and session tokens are cut
	Status   int
	Retries  int
	BytesIn  int64
	BytesOut int64
	Total    float64
	Lost     string
	Error    string // of the last try
	End      string // HAProxy's termination state
	Failed   bool   // it ended badly, not by the client's own doing
	Steps    []ExchangeStep
}

// ExchangeStep is one thing that happened on the way.
type ExchangeStep struct {
	At   float64
	Step string
	Text string
}

// RecentQuery says which exchanges are asked for. The zero value means all.
type RecentQuery struct {
	Site   string     // empty: all, also those that met no site
	Failed bool       // that failed, were retried or lost a session
	ID     string     // begins so
	Client netip.Addr // zero: all
	Limit  int        // at most so many; 0: all
}

// Recent returns exchanges that ended lately, the latest first. It reads what the
// loops wrote and stops nothing.
func (s *Server) Recent(q RecentQuery) []Exchange {
	list := s.recent.all(func(t *trace) bool {
		return (q.Site == "" || t.site == q.Site) && (!q.Failed || t.wrong()) && (!q.Client.IsValid() || t.client.Addr().Unmap() == q.Client.Unmap()) &&
			(q.ID == "" || strings.HasPrefix(string(accesslog.AppendID(nil, t.id)), q.ID))
	})
	if q.Limit > 0 && len(list) > q.Limit {
		list = list[:q.Limit]
	}
	sites := s.table.Load().sites
	out := make([]Exchange, len(list))
	for i := range list {
		out[i] = list[i].exchange(sites[list[i].site])
	}
	return out
}

// exchange words a trace. st is its site as it is now, nil when it is gone.
func (t *trace) exchange(st *site) Exchange {
	method, host, _ := t.texts()
	e := Exchange{
		ID: string(accesslog.AppendID(nil, t.id)), Time: time.Unix(0, t.at).UTC(), Client: t.client.String(), Frontend: t.frontend, TLS: t.tls, Proto: t.proto,
		Site: t.site, Method: printable(method), Host: printable(host), Status: int(t.status), Retries: int(t.retries),
		BytesIn: t.in, BytesOut: t.out, Total: ms(t.total), Lost: t.lost(), Failed: t.failed(),
	}
	if t.trouble != nil {
		e.Error = t.trouble.err
	}
	if t.instance != "" {
		e.Instance = accesslog.ServerName(t.member, t.instance)
	}
	e.Path = t.shownPath(st)
	for _, c := range t.end {
		e.End += string(rune(cmp.Or(c, '-')))
	}
	e.Steps = t.story(e.Instance)
	return e
}

// shownPath is the path without what opens somebody's session. Where the site is gone,
// nobody knows any more which parts of its paths do.
func (t *trace) shownPath(st *site) string {
	if st == nil && t.site != "" {
		return "/…"
	}
	_, _, kept := t.texts()
	path := accesslog.Redact(printable(kept))
	if st != nil {
		path = st.profile.Hide(path)
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

// story tells the steps in the order in which they happened. Reads and writes of a
// long body are told as one.
func (t *trace) story(instance string) []ExchangeStep {
	var out []ExchangeStep
	say := func(at float64, step, format string, args ...any) {
		out = append(out, ExchangeStep{At: at, Step: step, Text: fmt.Sprintf(format, args...)})
	}
	if t.steps == 0 || t.step[0].What != exchange.StepRead {
		say(ms(t.request), "read", "request head read")
	}
	picked := false
	pick := func(at float64) {
		if !picked && t.site != "" {
			picked = true
			say(at, "pick", "%s", t.choice(instance))
		}
	}
	moved := map[exchange.StepKind]int{}
	now, told := 0, 0 // the try that runs, and the last one whose failure is told
	failed := func(at float64, step string) bool {
		if t.trouble == nil || now == 0 || now == told || now > len(t.trouble.tries) {
			return false
		}
		told = now
		say(at, step, "try %d failed: %s", now, t.trouble.tries[now-1].Error)
		return true
	}
	for i := range t.step[:t.steps] {
		s := &t.step[i]
		at := ms(s.At())
		switch s.What {
		case exchange.StepRead:
			say(at, "read", "request head read, %d bytes", s.N)
		case exchange.StepRoute:
			if t.site == "" {
				say(at, "route", "no site")
			} else {
				say(at, "route", "site %s", t.site)
			}
		case exchange.StepConnect:
			if t.queue > 0 && s.N == 1 {
				say(at, "queue", "waited %.1f ms for a place", ms(t.queue))
			}
			if int(s.N) > now {
				failed(at, exchange.StepFail.String())
				now = int(s.N)
				clear(moved)
			}
			if now > int(t.retries) {
				pick(at)
			}
			say(at, "connect", "try %d: %s", s.N, t.attempt(int(s.N), instance))
		case exchange.StepWriteUpstream, exchange.StepReadUpstream:
			j, told := moved[s.What]
			if !told {
				moved[s.What] = len(out)
				say(at, s.What.String(), "%d bytes", s.N)
				continue
			}
			var n int32
			_, _ = fmt.Sscanf(out[j].Text, "%d", &n)
			out[j].Text = fmt.Sprintf("%d bytes, the last at %.3f ms", n+s.N, at)
		case exchange.StepConnectFailed, exchange.StepFail, exchange.StepTimeout:
			if !failed(at, s.What.String()) && now != told {
				say(at, s.What.String(), "%s", stepText(s))
			}
		default:
			if text := stepText(s); text != "" {
				say(at, s.What.String(), "%s", text)
			}
		}
	}
	if t.sent > 0 {
		say(ms(t.sent), "sent", "the request is complete at the instance")
	}
	pick(ms(t.request))
	if t.steps == tracedSteps {
		say(ms(t.total), "…", "there were more steps than are kept")
	}
	say(ms(t.total), "done", "%s", t.outcome())
	slices.SortStableFunc(out, func(a, b ExchangeStep) int { return cmp.Compare(a.At, b.At) })
	return out
}

// attempt names the instance of a try.
func (t *trace) attempt(n int, last string) string {
	if b := t.trouble; b != nil && n <= len(b.tries) {
		return b.tries[n-1].Instance
	}
	return cmp.Or(last, "an instance")
}

// choice says why the last instance was chosen, or none.
func (t *trace) choice(instance string) string {
	h := &t.how
	why := "by the site's policy"
	switch {
	case !h.picked && h.none != 0:
		return "no instance: " + h.none.String()
	case !h.picked && instance == "":
		return "answered without an instance"
	case h.pinned:
		why = "its session is there"
	case t.lost() != "" && t.trouble.lostFrom != "":
		why = fmt.Sprintf("its session was on %s and is lost: %s", t.trouble.lostFrom, t.lost())
	case t.lost() != "":
		why = "its session is lost: " + t.lost()
	case h.refused != 0:
		why = "a new session: its cookie was refused, " + h.refused.String()
	case h.began:
		why = "a new session, by the site's policy"
	}
	if h.guess {
		why += "; no instance is known to be up, so it is a guess"
	}
	return cmp.Or(instance, "an instance") + ": " + why
}

// text words a step that needs nothing else; empty: it says nothing to people.
func stepText(s *exchange.Step) string {
	switch s.What {
	case exchange.StepConnected:
		if s.N == 1 {
			return "on a kept connection"
		}
		return "connected"
	case exchange.StepConnectFailed:
		return "no connection: " + exchange.Cause(s.N).String()
	case exchange.StepInterim:
		return fmt.Sprintf("interim answer %d", s.N)
	case exchange.StepHead:
		return fmt.Sprintf("first byte of the answer: status %d", s.N)
	case exchange.StepUpgrade:
		return "upgraded to another protocol"
	case exchange.StepRefuse:
		return "refused: " + http1.Fault(s.N).Error()
	case exchange.StepFail:
		return "failed: " + exchange.Cause(s.N).String()
	case exchange.StepTimeout:
		return "a time limit passed"
	case exchange.StepDrop:
		return "the connection to the instance is closed"
	case exchange.StepRelease, exchange.StepWrite, exchange.StepFinish, exchange.StepRead, exchange.StepRoute, exchange.StepConnect, exchange.StepWriteUpstream, exchange.StepReadUpstream:
	}
	return ""
}

// outcome says how it ended.
func (t *trace) outcome() string {
	text := fmt.Sprintf("answered with status %d", t.status)
	if t.status == fault.StatusClientClosed {
		text = "the client went away before it had its answer"
	}
	switch t.cause {
	case exchange.CauseNone, exchange.CauseRequest:
	case exchange.CauseClient:
		if t.status != fault.StatusClientClosed {
			text += ", which the client did not take to its end"
		}
	default:
		text += ", broken off: " + t.cause.String()
	}
	if t.trouble != nil && t.trouble.err != "" {
		text += ": " + t.trouble.err
	}
	return text
}
