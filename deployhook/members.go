package deployhook

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"portico/conf/sites"
	"portico/deployhook/reply"
	"portico/deployhook/wanted"
	"portico/internal/pause"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

const (
	// maxWait bounds a long poll, below the minute after which routers between
	// machines forget a silent connection.
	maxWait = 45 * time.Second
	// doubtEvery is how long a poll of a doubted member stays open.
	doubtEvery = 4 * time.Second
	// maxReport bounds a report: a thousand instances with log tails.
	maxReport = 8 << 20
	// maxInstances bounds what one member may name in a report.
	maxInstances = 4096
	// copyWait is how long a proxy waits for the view that a copy of a report is of.
	copyWait = 200 * time.Millisecond
	// reportTimeout bounds the arrival of a report.
	reportTimeout = 20 * time.Second
)

// Identify returns the member that made a request, by its client certificate,
// and false for anybody else.
type Identify func(*http.Request) (catalog.Member, bool)

// Members returns the handlers for members' own requests by pattern:
//
//	GET  /v1/agent/wanted?after=REVISION&wait=30s   messages.Wanted, at once if it differs from what this member got at REVISION
//	POST /v1/agent/report                           messages.Report; answers {"stop_ok": […]}
//	GET  /v1/objects/{digest}, POST /v1/objects/bundle
//	POST /v1/peer/held, /v1/peer/move, /v1/peer/free   what proxies ask one another
//
// All of them answer 403 to whom identify does not know as an accepted member.
func (d *Deployer) Members(identify Identify) map[string]http.Handler {
	var only memberOnly = func(next func(http.ResponseWriter, *http.Request, catalog.Member)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m, ok := identify(r)
			if !ok || m.Admission != catalog.Accepted {
				reply.Error(w, refusal.New(http.StatusForbidden, "not_a_member", "", "this is for accepted members only"))
				return
			}
			next(w, r, m)
		})
	}
	objects := only(func(w http.ResponseWriter, r *http.Request, m catalog.Member) {
		if m.Role == catalog.RoleProxy {
			d.o.Objects.Serve(w, r, nil)
			return
		}
		d.o.Objects.Serve(w, r, func(release string) bool { return wanted.MayRead(d.o.Catalog.View(), m.Name, release) })
	})
	handlers := map[string]http.Handler{
		"GET /v1/agent/wanted":     only(d.serveWanted),
		"POST /v1/agent/report":    only(d.serveReport),
		"GET /v1/objects/{digest}": objects,
		"POST /v1/objects/bundle":  objects,
	}
	maps.Copy(handlers, d.peerRoutes(only))
	return handlers
}

// memberOnly makes a handler that answers accepted members alone.
type memberOnly func(next func(http.ResponseWriter, *http.Request, catalog.Member)) http.Handler

// sent is what a member was told last.
type sent struct {
	revision int64
	sum      [sha256.Size]byte

	// seen is the last view that was looked at for the member, at which its wanted state has this sum, and looked is when
	// that was. Nil: it is not kept any more.
	seen   *catalog.View
	looked time.Time
}

// serveWanted answers when the member's wanted state is another than what it
// has, or after the wait with what it has.
func (d *Deployer) serveWanted(w http.ResponseWriter, r *http.Request, m catalog.Member) {
	after, wait, err := wantedQuery(r)
	if err != nil {
		reply.Error(w, err)
		return
	}
	reply.Within(w, wait+reply.Time)
	begun := time.Now()
	defer d.presence.Enter(m.Name, begun)()
	d.wake() // somebody who was away may be back
	ctx, done := d.during(r.Context())
	defer done()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	changed, unsubscribe := d.o.Catalog.Subscribe()
	defer unsubscribe()
	// Where gossip doubts a member, an open connection is no proof that it
	// lives: it is made to come again soon.
	doubt := time.NewTicker(doubtEvery)
	defer doubt.Stop()
	doubted := func() bool {
		return d.o.Alive != nil && !d.o.Alive(m.Name) && time.Since(begun) >= doubtEvery
	}
	for {
		v := d.o.Catalog.View()
		last, ok := d.live.sent(m.Name)
		ok = ok && last.revision == after
		same := ok && d.news.Same(last.seen, v, m.Name)
		if !same || ctx.Err() != nil {
			state, sum := wanted.Of(v, m.Name), last.sum
			if !same {
				sum = wanted.Sum(state)
			}
			if !ok || last.sum != sum || ctx.Err() != nil {
				if r.Context().Err() != nil {
					return
				}
				d.live.setSent(m.Name, sent{state.Revision, sum, v, time.Now()})
				reply.JSON(w, http.StatusOK, state)
				return
			}
		}
		d.live.saw(m.Name, last, v)
		if awaitChange(ctx, changed, doubt.C, doubted) {
			cancel()
		}
	}
}

// awaitChange waits until something has changed or ctx ends, or reports that the member is doubted. At rest it costs a look now and then,
// and works nothing out anew: there may be a thousand members.
func awaitChange(ctx context.Context, changed <-chan struct{}, look <-chan time.Time, doubted func() bool) bool {
	for {
		select {
		case <-changed:
			return false
		case <-ctx.Done():
			return false
		case <-look:
			if doubted() {
				return true
			}
		}
	}
}

func wantedQuery(r *http.Request) (after int64, wait time.Duration, err error) {
	q := r.URL.Query()
	if s := q.Get("after"); s != "" {
		if after, err = strconv.ParseInt(s, 10, 64); err != nil {
			return 0, 0, refusal.New(http.StatusBadRequest, "invalid", "", "after=%q is not a revision", s)
		}
	}
	if s := q.Get("wait"); s != "" {
		if wait, err = time.ParseDuration(s); err != nil || wait < 0 {
			return 0, 0, refusal.New(http.StatusBadRequest, "invalid", "", "wait=%q is not a duration", s)
		}
	}
	return after, min(wait, maxWait), nil
}

// ReportAnswer is the answer to a report.
type ReportAnswer struct {
	Proxy string `json:"proxy,omitempty"` // that answers

	// StopOK are the reported instances to which this proxy sends nothing any
	// more, so that stopping them cuts nobody.
	StopOK []string `json:"stop_ok"`

	// Others is the same of the other proxies that this one could ask, by name, for an
	// agent that cannot ask them by itself.
	Others map[string][]string `json:"others,omitempty"`
}

func (d *Deployer) serveReport(w http.ResponseWriter, r *http.Request, m catalog.Member) {
	defer d.presence.Enter(m.Name, time.Now())()
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(reportTimeout))
	reply.Within(w, reportTimeout+writeDeadline+reply.Time)
	var report messages.Report
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReport)).Decode(&report); err != nil {
		reply.Error(w, refusal.New(http.StatusBadRequest, "invalid", "", "read report: %v", err))
		return
	}
	if err := checkReport(&report, m); err != nil {
		reply.Error(w, err)
		return
	}
	now := time.Now()
	d.live.take(m.Name, report, now)
	if d.o.Leaving != nil {
		d.o.Leaving(m.Name, report.Leaving)
	}
	ctx, cancel := context.WithTimeout(r.Context(), writeDeadline)
	defer cancel()
	if report.Copy {
		ctx, cancel = context.WithTimeout(r.Context(), copyWait)
		defer cancel()
		_, _ = d.o.Catalog.Wait(ctx, report.Revision) // so that both speak of the same wanted state
	} else if err := d.record(ctx, m, wanted.OwnOnly(d.o.Catalog.View(), m, report)); err != nil {
		d.logger.Warn("report not written", "member", m.Name, "error", err)
		reply.Error(w, err)
		return
	}
	v := d.o.Catalog.View()
	for _, in := range report.Instances {
		if in.Progress.Step == catalog.StepFetching && in.Deploy != "" {
			d.history.Bytes(in.Deploy, m.Name, in.Progress, now)
		}
	}
	d.live.settle(func(instance string) bool { return v.Instances[instance] != nil })
	d.wake()
	stop, soon := d.stoppable(wanted.Of(v, m.Name), report.Instances, now)
	if soon {
		// Better a short wait here than an instance that runs until the
		// agent's next report.
		if pause.For(r.Context(), lastSend) != nil {
			return
		}
		stop, _ = d.stoppable(wanted.Of(d.o.Catalog.View(), m.Name), report.Instances, time.Now())
	}
	reply.JSON(w, http.StatusOK, ReportAnswer{Proxy: d.o.Name, StopOK: stop, Others: d.freeElsewhere(r.Context(), m.Name, report)})
}

// checkReport refuses a report that speaks of others or says too much, and cuts
// what people wrote into it to a length that the catalog can keep.
func checkReport(r *messages.Report, m catalog.Member) error {
	if len(r.Instances) > maxInstances {
		return refusal.New(http.StatusBadRequest, "invalid", "", "the report names %d instances, more than %d", len(r.Instances), maxInstances)
	}
	for i := range r.Instances {
		in := &r.Instances[i]
		if in.Member == "" {
			in.Member = m.Name
		}
		switch {
		case in.Member != m.Name:
			return refusal.New(http.StatusForbidden, "not_yours", "", "member %q reports an instance of member %q", m.Name, in.Member)
		case in.ID != "" && ids.ValidInstance(in.ID) != nil:
			return refusal.New(http.StatusBadRequest, "invalid", "", "%v", ids.ValidInstance(in.ID))
		case sites.ValidName("site", in.Site) != nil:
			return refusal.New(http.StatusBadRequest, "invalid", "", "%v", sites.ValidName("site", in.Site))
		case ids.ValidRelease(in.Release) != nil:
			return refusal.New(http.StatusBadRequest, "invalid", "", "%v", ids.ValidRelease(in.Release))
		}
		trimProgress(&in.Progress)
		in.Detail = cut(in.Detail, maxDetail)
	}
	return nil
}

const (
	maxDetail   = 1 << 10
	maxBody     = 256
	maxLogLines = 50
	maxLogLine  = 512
)

func trimProgress(p *catalog.MemberProgress) {
	p.Detail = cut(p.Detail, maxDetail)
	if len(p.Log) > maxLogLines {
		p.Log = p.Log[len(p.Log)-maxLogLines:]
	}
	for i := range p.Log {
		p.Log[i] = cut(p.Log[i], maxLogLine)
	}
	if p.Probe != nil {
		p.Probe.Body = cut(p.Probe.Body, maxBody)
		p.Probe.Error = cut(p.Probe.Error, maxDetail)
	}
}

// cut shortens s to n bytes, at a rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

// record writes the changes of a member's instances. A report that changes
// nothing writes nothing.
func (d *Deployer) record(ctx context.Context, m catalog.Member, r messages.Report) error {
	if !differs(d.o.Catalog.View(), m, r) {
		return nil
	}
	_, err := d.o.Catalog.Update(ctx, func(tx *catalog.Tx) error { return command.ApplyReport(tx, m.Name, r) })
	if err != nil {
		return fmt.Errorf("record report of %s: %w", m.Name, err)
	}
	return nil
}

// differs reports whether a report says anything that the view does not.
func differs(v *catalog.View, m catalog.Member, r messages.Report) bool {
	known := v.Members[m.Name]
	if known != nil && r.Version != "" && (known.Version != r.Version || r.Runtimes != nil && !sameJSON(known.Runtimes, r.Runtimes)) {
		return true
	}
	named := 0
	for _, in := range r.Instances {
		if in.ID == "" {
			continue
		}
		named++
		in.Started = in.Started.UTC()
		was := v.Instances[in.ID]
		if was != nil {
			in.Admin, in.Drain = was.Admin, was.Drain // not the agent's to say
		}
		if was == nil || !sameJSON(was, in.Instance) {
			return true
		}
	}
	for _, in := range v.Instances {
		if in.Member == m.Name {
			named--
		}
	}
	return named != 0
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// silence is for how long nothing was heard of a member.
func (d *Deployer) silence(member string) time.Duration {
	return d.presence.Silence(member, time.Now(), d.o.Alive == nil || d.o.Alive(member))
}
