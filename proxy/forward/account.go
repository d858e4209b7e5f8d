package forward

import (
	"net/netip"
	"time"

	"portico/balancer"
	"portico/internal/alias"
	"portico/proxy/accesslog"
	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/fault"
	"portico/proxy/http1"
)

// done accounts for the present choice, once. The caller says what became of it; how long it took is the record's to say.
func (f *flight) done(o balancer.Outcome) {
	if !f.held {
		return
	}
	f.held = false
	o.Queue, o.Total = f.rec.Queue, f.rec.Total()
	o.Now = f.h.Clock.After(f.chosen, time.Duration(max(f.rec.End-f.began, 0)))
	if f.choice.Upstream != nil {
		f.rec.Inflight = f.choice.Upstream.InFlight()
	}
	if f.site.State.Pool.Done(&f.choice, o).CheckNow {
		f.h.Probes.Now(f.choice.Upstream.ID())
	}
}

// Finished implements exchange.Handler.
func (h *Handler) Finished(r *http1.Request, p *exchange.Peer, d *exchange.Decision) {
	f := flightOf(d)
	defer f.recovered(h, r, nil)
	if f.h == nil {
		return
	}
	if f.waiter != nil {
		f.leaveQueue()
	}
	f.unheld()
	if f.tunnel {
		f.h.Tunnels.Add(-1)
	}
	if f.lasts {
		f.h.LongLived.end(f)
	}
	f.done(outcome(f.rec))
	f.ending()
	f.count(r)
	f.describe(r, p)
	f.h.AccessLog.Append(f.rec)
	f.h.Recent.Keep(p.Lane, f.rec, &f.choice)
	f.h = nil
}

// outcome is what the balancer has to know of an exchange that has ended.
func outcome(rec *account.Record) balancer.Outcome {
	connect := rec.Connect()
	return balancer.Outcome{
		Result: result(rec.Cause), Status: rec.Status, BytesIn: rec.BytesIn, BytesOut: rec.BytesOut,
		Connect: max(connect, 0), Response: max(rec.Response(), 0), Reused: connect == 0,
	}
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

func result(why account.Cause) balancer.Result {
	switch why {
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
func (f *flight) ending() {
	rec := f.rec
	if f.fault != nil && f.fault.Cause != 0 {
		rec.State[0], rec.State[1] = f.fault.Cause, f.fault.Phase
		return
	}
	switch rec.Cause {
	case account.CauseClient:
		rec.State[0], rec.State[1] = 'C', 'D'
		if rec.FirstByte == 0 {
			rec.State[1] = 'H'
			rec.Status = fault.StatusClientClosed
		}
	case account.CauseUpstream, account.CauseResponse:
		rec.State[0], rec.State[1] = 'S', 'D'
	case account.CauseTimeout:
		rec.State[0], rec.State[1] = 's', 'D'
	case account.CauseReset:
		rec.State[0], rec.State[1] = 'S', 'D'
		if rec.FirstByte == 0 {
			rec.State[1] = 'H'
		}
	case account.CauseBound:
		rec.State[0], rec.State[1] = 'S', 'H'
	}
}

// count adds to the counters of the listener and the site.
func (f *flight) count(r *http1.Request) {
	l := f.rec
	l.Proto = protoOf(r)
	f.front.Count(l)
	if st := f.site; st != nil {
		l.Site, l.SiteReqs = st.Name, st.End(l)
	}
}

// describe says who asked for what, and gives the exchange its number.
func (f *flight) describe(r *http1.Request, p *exchange.Peer) {
	l := f.rec
	l.ID = f.h.Recent.ID(p.Lane)
	l.TLS, l.Frontend, l.Active = p.HTTPS, f.front.Name, int(f.front.Conns.Load())
	l.Client = p.Addr
	if p.Addr.Addr().Is4() {
		l.AddrText = p.Text
	}
	if f.client.Addr.IsValid() && f.client.Addr != p.Addr.Addr() {
		l.Client, l.AddrText = netip.AddrPortFrom(f.client.Addr, p.Addr.Port()), nil
	}
	l.Method, l.Host, l.Target = alias.String(r.Method), alias.String(r.Host), accesslog.Redact(f.target)
	l.UserAgent, l.Referer = alias.String(r.First(http1.UserAgent)), alias.String(r.First(http1.Referer))
	f.cookieState()
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
	f.rec.State[2], f.rec.State[3] = cookieLetters(&f.choice)
}
