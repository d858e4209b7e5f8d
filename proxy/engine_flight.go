package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"portico/balancer"
	"portico/proxy/http1"
)

// tlsConn is what tells the negotiated protocol of a connection.
type tlsConn interface{ ConnectionState() tls.ConnectionState }

// flight is one request on its way through the engine. It is kept with the
// engine's exchange from one request to the next, so that a request allocates
// nothing; strings in it alias the request's head and are void once Finished has
// returned.
type flight struct {
	s     *Server
	front *frontend
	began time.Time

	site   *site
	path   string // normalized
	target string // as received
	raw    string // its path
	client Client
	tunnel bool

	pick    balancer.Request
	values  [balancer.MaxCookieLen / 8][]byte
	exclude [8]*balancer.Upstream
	choice  balancer.Choice
	held    bool
	waiter  *balancer.Waiter // waits for a place
	freed   *atomic.Bool     // the place has become free
	asked   bool             // the verdict was waited for
	verdict bool             // waits for the checks to decide about the visitor's own instance
	waited  time.Time        // since
	limit   time.Duration    // of the wait

	retries int
	last    error // of the attempt that failed before
	fault   *fault
	rec     Record
	out     []byte // fields for the instance
	back    []byte // fields for the client
}

// text makes a string of bytes that outlive it: those of the request's head.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func flightOf(d *http1.Decision) *flight {
	f, _ := d.State.(*flight)
	if f == nil {
		f = new(flight)
		d.State = f
	}
	return f
}

// reset forgets the request before.
func (f *flight) reset(s *Server, front *frontend) {
	f.s, f.front, f.began = s, front, time.Now()
	f.site, f.path, f.target, f.raw, f.client, f.tunnel = nil, "", "", "", Client{}, false
	f.pick, f.choice, f.held, f.waiter, f.verdict = balancer.Request{}, balancer.Choice{}, false, nil, false
	f.asked = false
	f.retries, f.last, f.fault = 0, nil, nil
	f.rec = Record{Queue: -1, Connect: -1, Response: -1}
}

// Route implements http1.Handler.
func (e *engine) Route(r *http1.Request, p *http1.Peer, d *http1.Decision) {
	f := flightOf(d)
	defer f.recovered(e, r, d)
	if d.Parked > 0 && f.s != nil {
		if flt := f.resume(r, d); flt != nil {
			f.refuse(flt, r, d)
		}
		return
	}
	f.reset(e.s, e.fronts[p.Listener])
	if flt := f.route(e, r, p, d); flt != nil {
		f.refuse(flt, r, d)
	}
}

// recovered turns a panic into the loss of this one request: the loop that it
// happened in serves thousands of others.
func (f *flight) recovered(e *engine, r *http1.Request, d *http1.Decision) {
	p := recover()
	if p == nil {
		return
	}
	e.s.panics.Add(1)
	e.s.log.Error("request panicked", "panic", p, "stack", string(debug.Stack()))
	if d == nil || f.s == nil {
		return
	}
	f.rec.Error = "panic"
	f.refuse(faultInternal, r, d)
}

// route does what exchange.serve does for net/http.
func (f *flight) route(e *engine, r *http1.Request, p *http1.Peer, d *http1.Decision) *fault {
	s := f.s
	f.target, f.raw = originForm(r), text(r.Path)
	if f.raw == "*" || f.raw == "" {
		f.raw = "/"
	}
	if s.challenge != nil && !p.HTTPS && strings.HasPrefix(f.raw, challengePath) {
		d.Verdict = http1.Handover
		return nil
	}
	t := s.table.Load()
	rt, flt := t.route(text(r.Host), f.raw, p.HTTPS, p.ServerName)
	if flt != nil {
		return flt
	}
	f.site, f.path = rt.site, rt.path
	f.site.running.Add(1)
	f.identify(e, r, p)
	if f.client.Proto == "http" {
		if to := s.redirectTarget(f.site, rt.host, f.target); to != "" {
			f.redirect(to, d)
			return nil
		}
	}
	if !f.site.limiter.allow(f.site.rate, f.client.Addr, f.began) {
		f.site.limited.Inc()
		return faultRateLimited
	}
	f.prepare(r, d)
	return f.choose(r, d)
}

// originForm is the request target in origin form, as the log and redirects show it.
func originForm(r *http1.Request) string {
	t := text(r.Target)
	if len(t) > 0 && t[0] != '/' && t != "*" {
		t = text(r.Path)
		if len(r.Query) > 0 {
			t += "?" + text(r.Query)
		}
		if t == "" || t[0] == '?' {
			t = "/" + t
		}
	}
	return t
}

// identify works out who the client is. Only a trusted peer costs allocations.
func (f *flight) identify(e *engine, r *http1.Request, p *http1.Peer) {
	s := f.s
	addr := p.Addr.Addr()
	if len(s.trusted) == 0 || !within(addr, s.trusted) {
		f.client = Client{
			Addr: addr, Peer: addr, Port: p.Addr.Port(), Proto: "http", Host: text(r.Host), Local: e.ports[p.Listener], Chain: text(p.Text),
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
	f.client = identify(p.Addr, p.HTTPS, string(r.Host), e.ports[p.Listener], in, s.trusted)
}

// prepare settles what goes to the instance, but for the choice of one.
func (f *flight) prepare(r *http1.Request, d *http1.Decision) {
	st := f.site
	d.MaxBody = st.body
	d.Attempts = f.s.o.Conf.Retries + 1
	d.Client = nil // our own fields say it
	d.StripCookie = st.cookie
	prefix := ""
	if st.strip && string(r.Path) != "*" {
		d.Path = []byte(stripMount(f.raw, f.path, st.mount))
		prefix = st.mount
	}
	c := &f.client
	b := f.out[:0]
	b = append(append(append(b, "X-Forwarded-For: "...), c.Chain...), "\r\nX-Forwarded-Proto: "...)
	b = append(append(append(b, c.Proto...), "\r\nX-Forwarded-Host: "...), c.Host...)
	b = append(b, "\r\n"...)
	if c.Local != "" {
		b = append(append(append(b, "X-Forwarded-Port: "...), c.Local...), "\r\n"...)
	}
	if prefix != "" {
		b = append(append(append(b, "X-Forwarded-Prefix: "...), prefix...), "\r\n"...)
	}
	if r.TakesTrailers() {
		b = append(b, "Te: trailers\r\n"...)
	}
	f.out = b
	d.Fields = b

	values := r.Cookies(f.values[:0], st.cookie, maxStickyValues)
	if len(values) > 0 {
		f.pick.Cookie, f.pick.Others = values[0], values[1:]
	}
	f.pick.App = f.s.bears(st, requestFields{r}, f.target)
	if st.asksTicket() {
		f.pick.Ticket, _ = r.Cookie(st.place)
	}
	addr := c.Addr.As16()
	f.pick.Visitor = f.s.bal.HashVisitor(addr[:], r.Get("user-agent"))
	f.pick.Patient = !f.asked
	f.pick.Hash = st.policyHash(c, f.path)
	if f.pick.Exclude == nil {
		f.pick.Exclude = f.exclude[:0]
	}
}

// choose asks the balancer for an instance.
func (f *flight) choose(r *http1.Request, d *http1.Decision) *fault {
	pool := f.site.siteState.pool
	if f.last == nil && !f.asked {
		f.pick.Now = f.began.UnixMilli()
	} else {
		f.pick.Now = time.Now().UnixMilli()
	}
	f.choice, f.held = pool.Pick(&f.pick), true
	if f.choice.Await {
		f.await(pool, d)
		return nil
	}
	if f.choice.Upstream == nil {
		f.done(balancer.Refused, 0, nil, false)
		if f.last != nil {
			return faultFor(f.last)
		}
		f.rec.Error = f.choice.None.String()
		if f.choice.None == balancer.NoneFull {
			return faultFor(f.site.attend(&f.choice, f.pick.Ticket, f.client.Proto == "https"))
		}
		return faultFor(errNoUpstream)
	}
	if f.site.wantsNotice && f.choice.Lost != balancer.CauseNone {
		seen, _ := r.Cookie(f.site.cookie + "-notice")
		navigates := navigation(text(r.Method), text(r.Get("sec-fetch-mode")), text(r.Get("accept")))
		if flt := f.site.notice(&f.choice, f.pick.Cookie, text(seen), navigates, f.client.Proto == "https"); flt != nil {
			f.done(balancer.Refused, 0, nil, false)
			return flt
		}
	}
	if f.choice.Queue {
		return f.queue(pool, d)
	}
	f.send(d)
	return nil
}

// parkLook is how often a request that waits looks again.
const parkLook = 5 * time.Millisecond

// queue lets the request wait for a place at its instance.
func (f *flight) queue(pool *balancer.Pool, d *http1.Decision) *fault {
	f.waited, f.limit = time.Now(), pool.Config().Queue
	free := new(atomic.Bool)
	w := &balancer.Waiter{Choice: f.choice, Go: func(*balancer.Waiter) { free.Store(true) }}
	if !pool.Enqueue(w, f.waited.UnixMilli()) {
		f.done(balancer.Refused, 0, errQueueFull, false)
		return faultFor(errQueueFull)
	}
	f.waiter, f.freed = w, free
	d.Verdict, d.ParkFor = http1.Park, parkLook
	return nil
}

// await lets the request wait until the checks have decided about the visitor's
// own instance: one refused connection is also what a full backlog looks like,
// and a move costs the session.
func (f *flight) await(pool *balancer.Pool, d *http1.Decision) {
	f.verdict, f.waited, f.limit = true, time.Now(), awaitAlone
	for _, u := range pool.Upstreams() {
		if u != f.choice.Upstream && u.InRotation() {
			f.limit = awaitVerdict
			break
		}
	}
	d.Verdict, d.ParkFor = http1.Park, parkLook
}

// resume looks whether what the request waits for has happened.
func (f *flight) resume(r *http1.Request, d *http1.Decision) *fault {
	f.prepare(r, d)
	late := time.Since(f.waited) >= f.limit
	if f.verdict {
		return f.judged(late, r, d)
	}
	if f.waiter == nil {
		return faultInternal
	}
	if !f.freed.Load() {
		if !late {
			d.Verdict, d.ParkFor = http1.Park, parkLook
			return nil
		}
		if f.site.siteState.pool.Cancel(f.waiter) {
			f.waiter, f.held = nil, false
			f.rec.Queue = time.Since(f.waited)
			return faultFor(errQueueFull)
		}
	}
	f.choice, f.waiter = f.waiter.Choice, nil
	f.rec.Queue = time.Since(f.waited)
	f.send(d)
	return nil
}

// judged picks anew once the visitor's own instance is known to be up or down,
// or when the wait was long enough.
func (f *flight) judged(late bool, r *http1.Request, d *http1.Decision) *fault {
	own := f.choice.Upstream
	if own.Undecided() && !late {
		d.Verdict, d.ParkFor = http1.Park, parkLook
		return nil
	}
	f.verdict = false
	f.done(balancer.Refused, 0, nil, true)
	f.pick.Patient, f.asked = false, true
	if !own.Undecided() {
		f.pick.Exclude = slices.DeleteFunc(f.pick.Exclude, func(u *balancer.Upstream) bool { return u == own })
	}
	return f.choose(r, d)
}

// send names the instance to the engine.
func (f *flight) send(d *http1.Decision) {
	u := f.choice.Upstream
	f.rec.Instance, f.rec.Member = u.ID(), u.Spec().Member
	if f.choice.Lost != balancer.CauseNone {
		f.rec.Session = f.choice.Lost.String()
		f.out = append(append(append(f.out, SessionLostHeader+": cause="...), f.rec.Session...), "\r\n"...)
		d.Fields = f.out
	}
	d.Verdict = http1.Forward
	d.Upstream = f.s.originFor(u).way()
}

// Answered implements http1.Handler.
func (e *engine) Answered(r *http1.Request, a *http1.Response, d *http1.Decision) {
	f := flightOf(d)
	defer f.recovered(e, r, nil)
	b := f.back[:0]
	if a.Status == http.StatusSwitchingProtocols {
		f.tunnel = true
		f.s.engineTunnels.Add(1)
	}
	if streamsBytes(a.Get("content-type")) {
		d.Silence = f.s.o.Conf.Timeouts.Tunnel.Std()
	}
	if f.site.strip {
		b = f.remount(b, a)
	}
	f.s.noteLost(f.site, &f.choice)
	over := ""
	if end := a.Get(endField); end != nil || f.site.logout != "" {
		over = f.site.over(&f.choice, f.pick.App, f.path, text(end), f.client.Proto == "https")
		a.Drop(endField)
	}
	switch {
	case over != "":
		b = append(append(append(b, "Set-Cookie: "...), over...), "\r\n"...)
	case len(f.site.profile.places) > 0:
		f.s.learn(f.site, &f.choice, f.pick.App, valuesOf(a, "set-cookie"), func(name string) string { return text(a.Get(strings.ToLower(name))) })
	}
	if f.choice.Issue && f.site.sticky {
		b = append(append(append(b, "Set-Cookie: "...), f.site.setCookie(&f.choice, f.client.Proto == "https")...), "\r\n"...)
		if f.choice.New && len(f.pick.Ticket) > 0 {
			b = append(append(append(b, "Set-Cookie: "...), f.site.placeCookie("", 0, f.client.Proto == "https")...), "\r\n"...)
		}
		if a.Status != http.StatusSwitchingProtocols {
			b = append(append(append(b, "Cache-Control: "...), privateCache(valuesOf(a, "cache-control"))...), "\r\n"...)
			a.Drop("cache-control")
		}
	}
	f.site.siteState.pool.Answering(&f.choice)
	f.back = b
	d.AnswerFields = b
}

func valuesOf(a *http1.Response, name string) (values []string) {
	for i := range a.Fields {
		if k := &a.Fields[i]; strings.EqualFold(text(a.Name(k)), name) {
			values = append(values, text(a.Value(k)))
		}
	}
	return values
}

// streamsBytes is streams for a field's bytes; it allocates nothing.
func streamsBytes(contentType []byte) bool {
	if i := bytes.IndexByte(contentType, ';'); i >= 0 {
		contentType = contentType[:i]
	}
	switch string(bytes.TrimSpace(contentType)) {
	case "text/event-stream", "application/x-ndjson", "application/grpc", "multipart/x-mixed-replace":
		return true
	}
	return false
}

// remount puts the mount path back into redirects of a site that does not see it.
func (f *flight) remount(b []byte, a *http1.Response) []byte {
	for _, name := range [2]string{"location", "content-location"} {
		v := text(a.Get(name))
		if strings.HasPrefix(v, "/") && !strings.HasPrefix(v, "//") && !underMount(v, f.site.mount) {
			b = append(append(append(append(append(b, http.CanonicalHeaderKey(name)...), ": "...), f.site.mount...), v...), "\r\n"...)
			a.Drop(name)
		}
	}
	return b
}

// Failed implements http1.Handler.
func (e *engine) Failed(r *http1.Request, p *http1.Peer, d *http1.Decision, why http1.Why) {
	f := flightOf(d)
	defer f.recovered(e, r, d)
	if f.s == nil || why.Cause == http1.CauseRequest && f.site == nil {
		f.reset(e.s, e.fronts[p.Listener]) // refused before it was routed
	}
	err := errorOf(why)
	if f.held {
		f.rec.Error = err.Error()
	}
	again := why.Retry && f.site != nil && f.held && f.retries < f.s.o.Conf.Retries && f.site.siteState.pool.AllowRetry(time.Now().UnixMilli())
	f.rec.Total = time.Since(f.began)
	f.done(resultOf(err), 0, err, again)
	if again {
		f.last = err
		f.retries++
		f.rec.Retries, f.rec.Moved = f.retries, true
		f.pick.Exclude = append(f.pick.Exclude, f.choice.Upstream)
		f.prepare(r, d)
		if flt := f.choose(r, d); flt != nil {
			f.refuse(flt, r, d)
		}
		return
	}
	f.refuse(faultFor(err), r, d)
}

// errorOf words what the engine says as the errors of the data path.
func errorOf(why http1.Why) error {
	switch why.Cause {
	case http1.CauseRequest:
		switch why.Fault {
		case http1.FaultBodyLarge:
			return errBodyTooBig
		case http1.FaultBodyTimeout:
			return errSlowClient
		case http1.FaultHeaderTimeout:
			return faultHeaderTimeout
		}
		return refusal(why.Fault.Status(), "The request is not valid HTTP.")
	case http1.CauseConnect, http1.CauseConnectTime, http1.CauseBusy:
		return errDial
	case http1.CauseTimeout:
		return errSlowOrigin
	case http1.CauseResponse:
		return errors.Join(errBadResponse, why.Fault)
	case http1.CauseClient:
		return errClientGone
	}
	return errBrokeOff
}

var errBrokeOff = errors.New("instance closed the connection before it had answered")

// refuse makes the decision a fault's page.
func (f *flight) refuse(flt *fault, r *http1.Request, d *http1.Decision) {
	f.fault = flt
	f.front.own.Add(1)
	switch {
	case flt.status == http.StatusTooManyRequests || flt.status == 421 || flt.status == 405:
		f.front.denied.Add(1)
	case flt.cause == 'P' && f.site == nil && flt != faultUnknownHost:
		f.front.bad.Add(1)
	}
	if f.rec.Error == "" && flt.err != nil {
		f.rec.Error = flt.err.Error()
	}
	body, contentType := errorPage(flt, text(r.Get("accept")))
	b := append(f.back[:0], "Content-Type: "...)
	b = append(b, contentType...)
	b = append(b, "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"+
		"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n"...)
	if flt.retry > 0 {
		b = append(appendInt(append(b, "Retry-After: "...), int(flt.retry/time.Second)), "\r\n"...)
	}
	if flt.cookie != "" {
		b = append(append(append(b, "Set-Cookie: "...), flt.cookie...), "\r\n"...)
	}
	if flt.status == http.StatusMethodNotAllowed {
		b = append(b, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"...)
	}
	b = f.date(b)
	f.back = b
	d.Verdict, d.Status, d.Header, d.Body = http1.Answer, flt.status, b, body
	d.AnswerFields = nil
	d.Close = d.Close || flt.closed
}

func (f *flight) date(b []byte) []byte {
	return append(f.began.UTC().AppendFormat(append(b, "Date: "...), http.TimeFormat), "\r\n"...)
}

// redirect sends the client to TLS. The method stays what it was.
func (f *flight) redirect(to string, d *http1.Decision) {
	f.fault = &fault{cause: 'L', phase: 'R'}
	f.front.own.Add(1)
	f.back = f.date(append(append(append(f.back[:0], "Location: "...), to...), "\r\n"...))
	d.Verdict, d.Status, d.Header = http1.Answer, http.StatusPermanentRedirect, f.back
}

// done accounts for the present choice, once.
func (f *flight) done(r balancer.Result, status int, err error, again bool) {
	if !f.held {
		return
	}
	f.held = false
	o := balancer.Outcome{
		Now: f.began.UnixMilli() + f.rec.Total.Milliseconds(), Result: r, Status: status, BytesIn: f.rec.BytesIn, BytesOut: f.rec.BytesOut,
		Queue: max(f.rec.Queue, 0), Connect: max(f.rec.Connect, 0), Response: max(f.rec.Response, 0), Total: f.rec.Total,
		Reused: f.rec.Connect == 0, Retried: again,
	}
	if err != nil {
		o.Detail = err.Error()
	}
	if f.choice.Upstream != nil {
		f.rec.Inflight = f.choice.Upstream.InFlight()
	}
	if f.site.siteState.pool.Done(&f.choice, o).CheckNow {
		f.s.probes.now(f.choice.Upstream.ID())
	}
}

// Finished implements http1.Handler.
func (e *engine) Finished(r *http1.Request, p *http1.Peer, d *http1.Decision, rec *http1.Record) {
	f := flightOf(d)
	defer f.recovered(e, r, nil)
	if f.s == nil {
		return
	}
	if f.waiter != nil {
		f.leaveQueue()
	}
	if f.tunnel {
		f.s.engineTunnels.Add(-1)
	}
	total := time.Duration(rec.End - rec.Start)
	l := &f.rec
	l.Status, l.BytesIn, l.BytesOut, l.Total = rec.Status, rec.BytesIn, rec.BytesOut, total
	l.Request = time.Duration(rec.Routed - rec.Start)
	f.times(rec)
	f.done(f.result(rec), rec.Status, nil, false)
	f.ending(rec)
	f.count(total)
	if f.s.o.AccessLog != nil {
		f.log(r, p, rec)
	}
	f.s = nil
}

// leaveQueue gives up a place in the queue, or the one that has just become free.
func (f *flight) leaveQueue() {
	w := f.waiter
	f.waiter = nil
	if f.site.siteState.pool.Cancel(w) {
		f.held = false
		return
	}
	f.choice = w.Choice
}

// times translates the engine's clock.
func (f *flight) times(rec *http1.Record) {
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

func (f *flight) result(rec *http1.Record) balancer.Result {
	switch rec.Cause {
	case http1.CauseNone:
		return balancer.Answered
	case http1.CauseClient:
		return balancer.ClientAborted
	case http1.CauseUpstream, http1.CauseResponse:
		return balancer.ServerAborted
	case http1.CauseTimeout:
		return balancer.TimedOut
	}
	return balancer.Refused
}

// ending is HAProxy's two letters for how it ended.
func (f *flight) ending(rec *http1.Record) {
	if f.fault != nil && f.fault.cause != 0 {
		f.rec.End[0], f.rec.End[1] = f.fault.cause, f.fault.phase
		return
	}
	switch rec.Cause {
	case http1.CauseClient:
		f.rec.End[0], f.rec.End[1] = 'C', 'D'
		if rec.FirstByte == 0 {
			f.rec.End[1] = 'H'
			f.rec.Status = statusClientClosed
		}
	case http1.CauseUpstream, http1.CauseResponse:
		f.rec.End[0], f.rec.End[1] = 'S', 'D'
	case http1.CauseTimeout:
		f.rec.End[0], f.rec.End[1] = 's', 'D'
	}
}

// count adds to the counters of the listener and the site.
func (f *flight) count(total time.Duration) {
	l, front := &f.rec, f.front
	front.requests.Add(1)
	front.reqRate.Add(f.began.UnixMilli())
	front.h1req.Add(1)
	front.status[class(l.Status)].Add(1)
	front.bytesOut.Add(uint64(l.BytesOut))
	if l.BytesIn > 0 {
		front.bytesIn.Add(uint64(l.BytesIn))
	}
	if st := f.site; st != nil {
		l.SiteReqs = int(st.running.Add(-1)) + 1
		st.requests[class(l.Status)].Inc()
		st.duration.Update(total.Seconds())
		st.bytesIn.AddInt64(l.BytesIn)
		st.bytesOut.AddInt64(l.BytesOut)
		l.Site = st.name
	}
}

// log writes the access log's line.
func (f *flight) log(r *http1.Request, p *http1.Peer, rec *http1.Record) {
	l := &f.rec
	l.At, l.TLS, l.Frontend = f.began, p.HTTPS, f.front.name
	l.Client = p.Addr
	if f.client.Addr.IsValid() && f.client.Addr != p.Addr.Addr() {
		l.Client = netip.AddrPortFrom(f.client.Addr, p.Addr.Port())
	}
	if len(r.Method) > 0 && f.target != "" {
		l.Method, l.Host, l.Target, l.Proto = text(r.Method), text(r.Host), redact(f.target), "HTTP/1.1"
		if r.Minor == 0 {
			l.Proto = "HTTP/1.0"
		}
	}
	l.Active = int(f.front.conns.Load())
	f.cookieState()
	l.UserAgent = text(r.Get("user-agent"))
	l.Referer, _, _ = strings.Cut(text(r.Get("referer")), "?")
	f.s.o.AccessLog.Append(l)
}

// cookieState fills in the last two letters of the termination state.
func (f *flight) cookieState() {
	if f.site == nil || !f.site.sticky || f.choice.Upstream == nil {
		return
	}
	f.rec.End[2], f.rec.End[3] = cookieLetters(&f.choice)
}
