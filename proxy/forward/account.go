package forward

import (
	"net/netip"
	"strings"
	"time"

	"portico/balancer"
	"portico/internal/alias"
	"portico/proxy/accesslog"
	"portico/proxy/account"
	"portico/proxy/exchange"
	"portico/proxy/fault"
	"portico/proxy/http1"
	"portico/proxy/recent"
)

// done accounts for the present choice, once.
func (f *flight) done(r balancer.Result, status int, err error, again bool) {
	if !f.held {
		return
	}
	f.held = false
	o := balancer.Outcome{
		Now: f.h.Clock.After(f.chosen, f.rec.Total), Result: r, Status: status, BytesIn: f.rec.BytesIn, BytesOut: f.rec.BytesOut,
		Queue: max(f.rec.Queue, 0), Connect: max(f.rec.Connect, 0), Response: max(f.rec.Response, 0), Total: f.rec.Total,
		Reused: f.rec.Connect == 0, Retried: again,
	}
	if err != nil {
		o.Detail = err.Error()
	}
	if f.choice.Upstream != nil {
		f.rec.Inflight = f.choice.Upstream.InFlight()
	}
	if f.site.State.Pool.Done(&f.choice, o).CheckNow {
		f.h.Probes.Now(f.choice.Upstream.ID())
	}
}

// Finished implements exchange.Handler.
func (h *Handler) Finished(r *http1.Request, p *exchange.Peer, d *exchange.Decision, rec *account.Record) {
	f := flightOf(d)
	defer f.recovered(h, r, nil)
	if f.h == nil {
		return
	}
	if f.waiter != nil {
		f.leaveQueue()
	}
	f.unlisten()
	if f.tunnel {
		f.h.Tunnels.Add(-1)
	}
	if f.lasts {
		f.h.Lasting.end(f)
	}
	total := time.Duration(rec.End - rec.Start)
	l := &f.rec
	l.Status, l.BytesIn, l.BytesOut, l.Total = rec.Status, rec.BytesIn, rec.BytesOut, total
	l.Request = time.Duration(rec.Routed - rec.Start)
	f.times(rec)
	f.done(f.result(rec), rec.Status, nil, false)
	f.ending(rec)
	f.count(r)
	f.describe(p)
	if f.h.AccessLog != nil {
		f.log(r)
	}
	f.remember(r, p, rec)
	f.h = nil
}

// leaveQueue gives up a place in the queue, or the one that has just become free.
func (f *flight) leaveQueue() {
	w := f.waiter
	f.waiter = nil
	if f.site.State.Pool.Cancel(w) {
		f.held = false
		return
	}
	f.choice = w.Choice
}

// times translates the engine's clock.
func (f *flight) times(rec *account.Record) {
	switch {
	case rec.Connected == 0:
		return
	case rec.Reused:
		f.rec.Connect = 0
	default:
		f.rec.Connect = time.Duration(rec.Connected - rec.Routed)
	}
	if rec.FirstByte > 0 && !rec.Local {
		f.rec.Response = time.Duration(rec.FirstByte - max(rec.Connected, min(rec.Sent, rec.FirstByte)))
	}
}

func (f *flight) result(rec *account.Record) balancer.Result {
	switch rec.Cause {
	case account.CauseNone:
		return balancer.Answered
	case account.CauseClient:
		return balancer.ClientAborted
	case account.CauseUpstream, account.CauseResponse, account.CauseReset:
		return balancer.ServerAborted
	case account.CauseTimeout:
		return balancer.TimedOut
	}
	return balancer.Refused
}

// ending is HAProxy's two letters for how it ended.
func (f *flight) ending(rec *account.Record) {
	if f.fault != nil && f.fault.Cause != 0 {
		f.rec.End[0], f.rec.End[1] = f.fault.Cause, f.fault.Phase
		return
	}
	switch rec.Cause {
	case account.CauseClient:
		f.rec.End[0], f.rec.End[1] = 'C', 'D'
		if rec.FirstByte == 0 {
			f.rec.End[1] = 'H'
			f.rec.Status = fault.StatusClientClosed
		}
	case account.CauseUpstream, account.CauseResponse:
		f.rec.End[0], f.rec.End[1] = 'S', 'D'
	case account.CauseTimeout:
		f.rec.End[0], f.rec.End[1] = 's', 'D'
	case account.CauseReset:
		f.rec.End[0], f.rec.End[1] = 'S', 'D'
		if rec.FirstByte == 0 {
			f.rec.End[1] = 'H'
		}
	case account.CauseBound:
		f.rec.End[0], f.rec.End[1] = 'S', 'H'
	}
}

// count adds to the counters of the listener and the site.
func (f *flight) count(r *http1.Request) {
	l := &f.rec
	f.front.Count(l, f.began, r.Major == 2)
	if st := f.site; st != nil {
		l.Site, l.SiteReqs = st.Name, st.End(l)
	}
}

// describe says who asked, and gives the exchange its number.
func (f *flight) describe(p *exchange.Peer) {
	l := &f.rec
	l.ID = f.h.Recent.ID(p.Lane)
	l.At, l.TLS, l.Frontend = f.began, p.HTTPS, f.front.Name
	l.Client = p.Addr
	if p.Addr.Addr().Is4() {
		l.AddrText = p.Text
	}
	if f.client.Addr.IsValid() && f.client.Addr != p.Addr.Addr() {
		l.Client, l.AddrText = netip.AddrPortFrom(f.client.Addr, p.Addr.Port()), nil
	}
	f.cookieState()
}

// log writes the access log's line.
func (f *flight) log(r *http1.Request) {
	l := &f.rec
	if len(r.Method) > 0 && f.target != "" {
		l.Method, l.Host, l.Target, l.Proto = alias.String(r.Method), alias.String(r.Host), accesslog.Redact(f.target), protoOf(r)
	}
	l.Active = int(f.front.Conns.Load())
	l.UserAgent = alias.String(r.First(http1.UserAgent))
	l.Referer, _, _ = strings.Cut(alias.String(r.First(http1.Referer)), "?")
	f.h.AccessLog.Append(l)
}

// remember files the exchange among the recent ones.
func (f *flight) remember(r *http1.Request, p *exchange.Peer, rec *account.Record) {
	e := recent.Ending{
		Method: alias.String(r.Method), Host: alias.String(r.Host), Target: f.target, Proto: protoOf(r),
		Cause: rec.Cause, Fault: rec.Fault, Steps: rec.Steps,
	}
	if rec.Sent > 0 {
		e.Sent = time.Duration(rec.Sent - rec.Start)
	}
	f.h.Recent.Keep(p.Lane, &f.rec, &f.choice, &e)
}

func protoOf(r *http1.Request) string {
	switch {
	case r.Major == 2:
		return "HTTP/2.0"
	case r.Minor == 0:
		return "HTTP/1.0"
	}
	return "HTTP/1.1"
}

// cookieState fills in the last two letters of the termination state.
func (f *flight) cookieState() {
	if f.site == nil || !f.site.Sticky || f.choice.Upstream == nil {
		return
	}
	f.rec.End[2], f.rec.End[3] = cookieLetters(&f.choice)
}
