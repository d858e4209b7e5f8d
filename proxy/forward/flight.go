package forward

import (
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/internal/alias"
	"portico/proxy/clock"
	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/fault"
	"portico/proxy/http1"
	"portico/proxy/listen"
	"portico/proxy/origin"
	"portico/proxy/route"
	"portico/proxy/site"
	"portico/proxy/sticky"
)

// flight is one request on its way through the engine. It is kept with the
// engine's exchange from one request to the next, so that a request allocates
// nothing; strings in it alias the request's head and are void once Finished has
// returned.
type flight struct {
	h     *Handler
	front *listen.Traffic
	clock clock.Driver

	chosen clock.Moment // when an instance was chosen first
	began  int64        // the same by the driver's clock

	site   *site.Site
	path   string // normalized
	target string // as received
	raw    string // its path
	client Client
	tunnel bool
	lasts  bool // it is among the long-lived ones

	pick    balancer.Request
	values  [seal.MaxCookieLen / 8][]byte
	exclude [8]*balancer.Upstream
	choice  balancer.Choice
	held    bool
	waiter  *balancer.Waiter     // waits for a place
	freed   *atomic.Bool         // the place has become free
	awaited bool                 // news of instances was waited for
	awaits  bool                 // it is waited for
	waited  time.Time            // since
	limit   time.Duration        // of the wait
	crowd   bool                 // it is one of those that are held without a session
	proof   *proof               // of a challenge, whose answer is waited for
	news    []*balancer.Upstream // of which is waited for
	forget  []func()             // end that

	last  error // of the attempt that failed before
	fault *fault.Fault
	rec   *account.Record // the exchange's
	out   []byte          // fields for the instance
	back  []byte          // fields for the client
}

func flightOf(d *exchange.Decision) *flight {
	f, _ := d.State.(*flight)
	if f == nil {
		f = new(flight)
		d.State = f
	}
	return f
}

// reset forgets the request before.
func (f *flight) reset(h *Handler, front *listen.Traffic, now int64, rec *account.Record) {
	f.h, f.front, f.rec = h, front, rec
	rec.At, rec.Error, f.began = f.clock.At(now), "", now
	f.site, f.path, f.target, f.raw, f.tunnel = nil, "", "", "", false
	f.client = Client{}
	f.pick = balancer.Request{}
	f.choice = balancer.Choice{}
	f.held, f.waiter, f.awaits, f.awaited, f.proof = false, nil, false, false, nil
	f.last, f.fault = nil, nil
}

// Route implements exchange.Handler.
func (h *Handler) Route(r *http1.Request, p *exchange.Peer, d *exchange.Decision) {
	f := flightOf(d)
	defer f.recovered(h, r, d)
	if d.Parked > 0 && f.h != nil {
		if flt := f.resume(r, d); flt != nil {
			f.refuse(flt, r, d)
		}
		return
	}
	f.reset(h, h.Fronts[p.Listener], p.Now, d.Record)
	d.Close = h.LameDuck.Load()
	if flt := f.route(r, p, d); flt != nil {
		f.refuse(flt, r, d)
	}
}

// recovered turns a panic into the loss of this one request: the loop that it
// happened in serves thousands of others.
func (f *flight) recovered(h *Handler, r *http1.Request, d *exchange.Decision) {
	p := recover()
	if p == nil {
		return
	}
	h.Panics.Add(1)
	h.Log.Error("request panicked", "panic", p, "stack", string(debug.Stack()))
	if d == nil || f.h == nil {
		return
	}
	f.rec.Error = "panic"
	f.refuse(fault.Internal, r, d)
}

// route finds the site, and an instance for the request; a fault is what it is answered with instead.
func (f *flight) route(r *http1.Request, p *exchange.Peer, d *exchange.Decision) *fault.Fault {
	h := f.h
	f.target, f.raw = originForm(r), alias.String(r.Path)
	if f.raw == "*" || f.raw == "" {
		f.raw = "/"
	}
	if f.challenged(p) {
		f.prove(r, p, d)
		return nil
	}
	t := h.Table.Load()
	rt, flt := t.Route(alias.String(r.Host), f.raw, p.HTTPS, p.ServerName)
	if flt != nil {
		return flt
	}
	f.site, f.path = rt.Site, rt.Path
	f.site.Begin()
	f.identify(r, p)
	if r.Major == 2 && (f.site.Private || r.Binds()) {
		f.requireHTTP1(d)
		return nil
	}
	if f.client.Proto == "http" {
		if to := h.Front.RedirectToTLS(&f.site.Rule, rt.Host, f.target); to != "" {
			f.redirect(to, d)
			return nil
		}
	}
	if !f.site.Allow(f.client.Addr, f.rec.At) {
		return fault.RateLimited
	}
	f.prepare(r, d)
	if len(p.Own) > 0 {
		f.pick.Near = h.Origins.Near(f.site.State.Pool.Upstreams(), p.Own)
	}
	return f.choose(r, d)
}

// originForm is the request target in origin form, as the log and redirects show it.
func originForm(r *http1.Request) string {
	t := alias.String(r.Target)
	if len(t) > 0 && t[0] != '/' && t != "*" {
		t = alias.String(r.Path)
		if len(r.Query) > 0 {
			t += "?" + alias.String(r.Query)
		}
		if t == "" || t[0] == '?' {
			t = "/" + t
		}
	}
	return t
}

// identify works out who the client is. Only a trusted peer costs allocations.
func (f *flight) identify(r *http1.Request, p *exchange.Peer) {
	h := f.h
	addr := p.Addr.Addr()
	if len(h.Trusted) == 0 || !within(addr, h.Trusted) {
		f.client = Client{
			Addr: addr, Peer: addr, Proto: "http", Host: alias.String(r.Host), Local: h.Ports[p.Listener], Chain: alias.String(p.Text),
		}
		if p.HTTPS {
			f.client.Proto = "https"
		}
		return
	}
	in := http.Header{}
	for i := range r.Fields {
		switch k := &r.Fields[i]; k.Kind {
		case http1.KindForwardedFor, http1.KindForwardedOther:
			in.Add(string(r.Name(k)), string(r.Value(k)))
		}
	}
	f.client = Identify(p.Addr, p.HTTPS, string(r.Host), h.Ports[p.Listener], in, h.Trusted)
}

// prepare settles what goes to the instance, but for the choice of one.
func (f *flight) prepare(r *http1.Request, d *exchange.Decision) {
	st := f.site
	if values := r.Cookies(f.values[:0], st.Cookie.Name, sticky.MaxValues); len(values) > 0 {
		f.pick.Cookie, f.pick.Others = values[0], values[1:]
		st.State.Pool.Expect(f.pick.Cookie)
		f.pick.Expected = true
	}
	d.MaxBody = st.Body
	d.Private = st.Private
	d.Attempts = f.h.Retries + 1
	d.Client = nil // our own fields say it
	d.Underscores = st.Underscores
	d.StripCookie, d.StripAlso, d.BarCookie, d.TrimCookie = st.Cookie.Name, sticky.Endings, sticky.AdminCookie, nil
	prefix := ""
	if st.Strip && string(r.Path) != "*" {
		d.Path = []byte(route.StripMount(f.raw, f.path, st.Mount))
		prefix = st.Mount
	}
	c := &f.client
	b := append(append(f.out[:0], "X-Forwarded-For: "...), c.Chain...)
	if c.Proto == "http" {
		b = append(b, "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: "...)
	} else {
		b = append(append(append(b, "\r\nX-Forwarded-Proto: "...), c.Proto...), "\r\nX-Forwarded-Host: "...)
	}
	b = append(b, c.Host...)
	if c.Local != "" {
		b = append(append(b, "\r\nX-Forwarded-Port: "...), c.Local...)
	}
	b = append(b, "\r\n"...)
	if prefix != "" {
		b = append(append(append(b, "X-Forwarded-Prefix: "...), prefix...), "\r\n"...)
	}
	if r.TakesTrailers() {
		b = append(b, "Te: trailers\r\n"...)
	}
	f.out = b
	d.Fields = b

	f.pick.App = f.h.requestToken(st, sticky.RequestFields{Request: r}, f.target)
	if a := st.State.Adoption.Load(); a != nil {
		d.TrimCookie = a.Trim
		if len(f.pick.Cookie) == 0 {
			f.pick.Cookie, _ = st.Adopt(f.pick.App, sticky.RequestFields{Request: r}, f.target)
		}
	}
	if st.AsksTicket() {
		f.pick.Ticket, _ = r.Cookie(st.Cookie.Place)
	}
	addr := c.Addr.As16()
	f.pick.Visitor = f.h.Balancer.HashVisitor(addr[:], r.First(http1.UserAgent))
	f.pick.Patient = !f.awaited
	f.pick.Fleeting = st.Fleeting(alias.String(r.Method))
	f.pick.Hash = st.PolicyHash(c.Addr, f.path, sticky.RequestFields{Request: r}.FieldValue)
	if f.pick.Exclude == nil {
		f.pick.Exclude = f.exclude[:0]
	}
}

// choose asks the balancer for an instance.
func (f *flight) choose(r *http1.Request, d *exchange.Decision) *fault.Fault {
	pool := f.site.State.Pool
	if f.last == nil && !f.awaited {
		f.pick.Now = f.h.Clock.Millis(f.rec.At)
		f.chosen = f.h.Clock.Moment(f.pick.Now)
	} else {
		f.pick.Now = f.h.Clock.Millis(time.Now())
	}
	pool.Pick(&f.choice, &f.pick)
	f.held = true
	if f.choice.Await {
		f.await(d, f.choice.Upstream)
		return nil
	}
	if f.waitsForRestart(d) {
		return nil
	}
	if f.choice.Upstream == nil {
		f.done(balancer.Outcome{Result: balancer.Refused})
		if f.rec.Error = f.choice.None.String(); f.last != nil {
			f.rec.Error = f.last.Error()
		}
		if f.last == nil && f.choice.None == balancer.NoneFull {
			return fault.For(f.site.Wait(&f.choice, f.pick.Ticket, f.client.Proto == "https", f.h.Clock.Millis(time.Now())))
		}
		return fault.NoInstance(&f.choice, alias.String(r.Method), f.last)
	}
	if f.site.WantsNotice && f.choice.Lost != balancer.CauseNone {
		seen, _ := r.Cookie(f.site.Cookie.Notice)
		navigates := site.Navigates(alias.String(r.Method), alias.String(r.Get("sec-fetch-mode")), alias.String(r.Get("accept")))
		if flt := f.site.Notice(&f.choice, f.pick.Cookie, alias.String(seen), navigates, f.client.Proto == "https"); flt != nil {
			f.done(balancer.Outcome{Result: balancer.Refused})
			return flt
		}
	}
	if f.choice.Queue {
		return f.queue(pool, d)
	}
	f.send(d)
	return nil
}

// queue lets the request wait for a place at its instance.
func (f *flight) queue(pool *balancer.Pool, d *exchange.Decision) *fault.Fault {
	f.waited, f.limit = time.Now(), pool.Config().Queue
	free, wake := new(atomic.Bool), d.Wake
	w := &balancer.Waiter{Choice: f.choice, Go: func(*balancer.Waiter) {
		free.Store(true)
		wake()
	}}
	if !pool.Enqueue(w, f.h.Clock.Millis(f.waited)) {
		f.done(balancer.Outcome{Result: balancer.Refused})
		return fault.For(fault.ErrQueueFull)
	}
	f.waiter, f.freed = w, free
	f.park(d)
	return nil
}

// park lets the request wait until it is woken, or for what is left of its time.
func (f *flight) park(d *exchange.Decision) {
	d.Verdict, d.ParkFor = exchange.Park, max(f.limit-time.Since(f.waited), 0)
}

// resume looks whether what the request waits for has happened.
func (f *flight) resume(r *http1.Request, d *exchange.Decision) *fault.Fault {
	if f.proof != nil {
		return f.proved(d)
	}
	f.prepare(r, d)
	late := time.Since(f.waited) >= f.limit
	if f.awaits {
		return f.judged(late, r, d)
	}
	if f.waiter == nil {
		return fault.Internal
	}
	if !f.freed.Load() {
		if !late {
			f.park(d)
			return nil
		}
		if f.site.State.Pool.Cancel(f.waiter) {
			f.waiter, f.held = nil, false
			f.rec.Queue = time.Since(f.waited)
			return fault.For(fault.ErrQueueFull)
		}
	}
	f.choice, f.waiter = f.waiter.Choice, nil
	f.rec.Queue = time.Since(f.waited)
	if !f.choice.Admitted() { // it left while the request waited
		f.pick.Exclude = append(f.pick.Exclude, f.choice.Upstream)
		f.done(balancer.Outcome{Result: balancer.Refused, Retried: true})
		return f.choose(r, d)
	}
	f.send(d)
	return nil
}

// send names the instance to the engine.
func (f *flight) send(d *exchange.Decision) {
	u := f.choice.Upstream
	f.rec.Instance, f.rec.Member, f.rec.Session = u.ID(), u.Spec().Member, ""
	if f.choice.Lost != balancer.CauseNone {
		f.rec.Session = f.choice.Lost.String()
		f.out = append(append(append(f.out, sticky.SessionLostHeader+": cause="...), f.rec.Session...), "\r\n"...)
		d.Fields = f.out
	}
	d.Verdict, d.Connect, d.Stays = exchange.Forward, 0, f.choice.Pinned
	if f.choice.Trial {
		d.Connect = origin.TrialConnect
	}
	d.Upstream = f.h.Origins.For(u).Upstream()
}
