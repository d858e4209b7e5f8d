package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"portico/balancer"
)

// exchange is one request and its answer, as net/http carries them.
type exchange struct {
	s  *Server
	w  http.ResponseWriter
	r  *http.Request
	rc *http.ResponseController
	ci *connInfo

	began  time.Time
	table  *table
	site   *site
	path   string // normalized
	target string // as received: path and query, or "*"
	client Client
	last   bool // the connection closes behind this exchange

	body   *clientBody // nil: the request has none
	out    outgoing
	pick   balancer.Request
	choice balancer.Choice
	held   bool // choice has to be given to Done

	rec     Record
	bytes   int64 // of the answer's body
	wrote   bool  // the answer's head is out
	aborted bool  // the answer broke off: the connection must show it
}

// ServeHTTP implements http.Handler for HTTP/1 and HTTP/2.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ci, _ := r.Context().Value(connKey{}).(*connInfo)
	if ci == nil {
		http.Error(w, "BUG: no connection", http.StatusInternalServerError)
		return
	}
	x := &exchange{s: s, w: w, r: r, rc: http.NewResponseController(w), ci: ci, began: time.Now()}
	x.rec.Request, x.rec.Queue, x.rec.Connect, x.rec.Response = 0, -1, -1, -1
	defer x.end()
	if f := x.serve(); f != nil {
		x.refuse(f)
	}
}

// serve does everything between the head and the end of the answer. A fault is
// still to be told to the client.
func (x *exchange) serve() *fault {
	if f := x.open(); f != nil {
		return f
	}
	if x.s.isChallenge(x.r, x.ci.secure) {
		x.s.challenge.ServeHTTP(&recorder{ResponseWriter: x.w, x: x}, x.r)
		return nil
	}
	x.table = x.s.table.Load()
	rawPath, _, _ := strings.Cut(x.target, "?")
	if rawPath == "*" {
		rawPath = "/"
	}
	rt, f := x.table.route(x.r.Host, rawPath, x.ci.secure, x.ci.sni)
	if f != nil {
		return f
	}
	x.site, x.path = rt.site, rt.path
	x.site.running.Add(1)
	x.client = identify(x.ci.peer, x.ci.secure, x.r.Host, x.ci.port, x.r.Header, x.s.trusted)
	if x.client.Proto == "http" {
		if to := x.s.redirectTarget(x.site, rt.host, x.target); to != "" {
			x.redirect(to)
			return nil
		}
	}
	if !x.site.limiter.allow(x.site.rate, x.client.Addr, x.began) {
		x.site.limited.Inc()
		return faultRateLimited
	}
	return x.forward(rawPath)
}

// open judges what the guard did not: for HTTP/2 everything.
func (x *exchange) open() *fault {
	if x.ci.guard == nil {
		x.target = x.r.RequestURI
		return x.openH2()
	}
	info := x.ci.guard.next()
	x.rec.Request = x.began.Sub(info.began)
	x.began = info.began
	x.target = info.target
	if info.raw {
		x.last = true
	}
	return info.fault
}

// openH2 refuses what belongs to HTTP/1 connections only (RFC 9113 sections
// 8.2.2 and 8.3), and what the guard would have refused.
func (x *exchange) openH2() *fault {
	h := x.r.Header
	for _, name := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade"} {
		if _, ok := h[name]; ok {
			return faultBadRequest
		}
	}
	if te := h["Te"]; len(te) > 1 || len(te) == 1 && te[0] != "trailers" {
		return faultBadRequest
	}
	if x.r.Method == http.MethodConnect || x.r.Method == http.MethodTrace || x.r.Method == "TRACK" {
		return faultMethod
	}
	if x.target == "*" && x.r.Method != http.MethodOptions || x.target == "" || x.target[0] != '/' && x.target != "*" {
		return faultBadRequest
	}
	if len(x.target) > x.s.limits.Line {
		return refusal(414, "The address is too long.")
	}
	for i := range len(x.target) {
		if c := x.target[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return faultBadRequest
		}
	}
	count := 0
	for _, v := range h {
		count += len(v)
	}
	if count > x.s.limits.Fields {
		return refusal(431, "The request has too many header fields.")
	}
	return nil
}

// forward sends the request to an instance and passes the answer on.
func (x *exchange) forward(rawPath string) *fault {
	if f := x.prepare(rawPath); f != nil {
		return f
	}
	err := x.tryAll()
	if err == nil {
		return nil
	}
	if x.wrote {
		x.aborted = true
		x.ending(faultFor(err))
		return nil
	}
	return faultFor(err)
}

// prepare makes the request that goes out, and reads a small body.
func (x *exchange) prepare(rawPath string) *fault {
	st := x.site
	if x.r.ContentLength > st.body {
		f := *faultFor(errBodyTooBig)
		return &f
	}
	target, prefix := x.target, ""
	if st.strip && target != "*" {
		target = stripMount(rawPath, x.path, st.mount) + x.target[len(rawPath):]
		prefix = st.mount
	}
	t := x.s.o.Conf.Timeouts
	x.out = outgoing{
		method: x.r.Method, target: target, host: x.r.Host,
		header:     requestHeader(x.r.Header, &x.client, prefix),
		trailer:    announced(x.r),
		headBudget: t.Response.Std(), pause: t.Body.Std(),
	}
	values, rest := takeCookie(x.r.Header["Cookie"], st.cookie)
	if len(rest) > 0 {
		x.out.header["Cookie"] = rest
	} else {
		delete(x.out.header, "Cookie")
	}
	if up := x.upgrade(); up != "" {
		x.out.upgrade = up
		x.out.header["Sec-Websocket-Key"] = x.r.Header["Sec-Websocket-Key"]
	}
	addr := x.client.Addr.As16()
	x.pick = balancer.Request{
		Visitor: x.s.bal.HashVisitor(addr[:], []byte(x.r.UserAgent())),
		Hash:    st.policyHash(&x.client, x.path),
		Patient: true,
	}
	if len(values) > 0 {
		x.pick.Cookie, x.pick.Others = values[0], values[1:]
	}
	return x.takeBody()
}

// takeBody sets up the request body: none, a small one that is read now, or a
// stream.
func (x *exchange) takeBody() *fault {
	if x.r.ContentLength == 0 || x.r.Body == nil || x.r.Body == http.NoBody {
		return nil
	}
	t := x.s.o.Conf.Timeouts
	x.body = &clientBody{
		body: x.r.Body, rc: x.rc, max: x.site.body, pause: t.Body.Std(), grace: rateGrace, rate: minRate,
		clear: x.ci.guard == nil, in: x.r, out: x.out.trailer, guard: x.ci.guard,
	}
	if n := x.r.ContentLength; n > 0 && n <= heldBody {
		x.out.held = make([]byte, n)
		if _, err := io.ReadFull(x.body, x.out.held); err != nil {
			return faultFor(bodyError(err))
		}
		_, _ = io.CopyN(io.Discard, x.body, 1) // its end, which net/http wants to see
		return nil
	}
	x.out.body, x.out.length = x.body, x.r.ContentLength
	x.out.expect = strings.EqualFold(x.r.Header.Get("Expect"), "100-continue")
	if x.ci.guard != nil {
		// net/http would otherwise read the rest of the body, which belongs to
		// the instance, before it writes an answer.
		_ = x.rc.EnableFullDuplex()
	}
	return nil
}

// Slow clients: after the grace, a body must come at this rate on average.
const (
	rateGrace = 10 * time.Second
	minRate   = 64 // bytes a second
)

// tryAll sends the request, to another instance when that is safe.
func (x *exchange) tryAll() error {
	pool := x.site.siteState.pool
	var last error
	for try := 0; ; try++ {
		x.pick.Now = time.Now().UnixMilli()
		x.choice, x.held = pool.Pick(&x.pick), true
		if x.choice.Await {
			x.await(pool)
		}
		if x.choice.Upstream == nil {
			return x.nobody(last)
		}
		if x.choice.Queue {
			if err := x.wait(pool); err != nil {
				return err
			}
		}
		err := x.try()
		if err == nil {
			return nil
		}
		u := x.choice.Upstream
		last = x.blame(err)
		x.rec.Error = last.Error()
		again := !x.wrote && x.mayRetry(last) && try < x.s.o.Conf.Retries && pool.AllowRetry(time.Now().UnixMilli())
		x.done(resultOf(last), last, again)
		if !again {
			return last
		}
		x.rec.Retries++
		x.rec.Moved = true
		x.pick.Exclude = append(x.pick.Exclude, u)
	}
}

// nobody says why there is no instance. After a failed try, what went wrong then
// is the answer.
func (x *exchange) nobody(last error) error {
	x.done(balancer.Refused, nil, false)
	if last != nil {
		return last
	}
	x.rec.Error = x.choice.None.String()
	if x.choice.None == balancer.NoneFull {
		return errQueueFull
	}
	return errNoUpstream
}

// How long a visitor waits for the verdict on the instance that holds the session
// when it refused a connection: about as long as the checks need to be sure. With
// nowhere else to go the answer should come sooner.
const (
	awaitVerdict = 2 * time.Second
	awaitAlone   = 700 * time.Millisecond
)

// await waits until the checks have decided about the visitor's own instance, and
// picks anew: one refused connection is also what a full backlog looks like, and
// a move costs the session.
func (x *exchange) await(pool *balancer.Pool) {
	own := x.choice.Upstream
	limit := awaitAlone
	for _, u := range pool.Upstreams() {
		if u != own && u.InRotation() {
			limit = awaitVerdict
			break
		}
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	verdict := own.Verdict()
	if own.State() == balancer.Suspect {
		select {
		case <-verdict:
		case <-timer.C:
		case <-x.r.Context().Done():
		}
	}
	x.done(balancer.Refused, nil, true)
	x.pick.Patient = false
	if own.State() != balancer.Suspect {
		x.pick.Exclude = slices.DeleteFunc(x.pick.Exclude, func(u *balancer.Upstream) bool { return u == own })
	}
	x.pick.Now = time.Now().UnixMilli()
	x.choice, x.held = pool.Pick(&x.pick), true
}

// blame finds out who ended an exchange. A body that is not sound makes net/http
// cancel the request, which looks like a client that went away.
func (x *exchange) blame(err error) error {
	if x.ci.guard != nil {
		if f := x.ci.guard.broken.Load(); f != nil {
			return f
		}
	}
	return err
}

// wait queues for a place at the instance that was chosen.
func (x *exchange) wait(pool *balancer.Pool) error {
	began := time.Now()
	free := make(chan struct{}, 1)
	w := &balancer.Waiter{Choice: x.choice, Go: func(*balancer.Waiter) { free <- struct{}{} }}
	if !pool.Enqueue(w, began.UnixMilli()) {
		x.done(balancer.Refused, errQueueFull, false)
		return errQueueFull
	}
	timer := time.NewTimer(pool.Config().Queue)
	defer timer.Stop()
	var err error
	select {
	case <-free:
	case <-timer.C:
		err = errQueueFull
	case <-x.r.Context().Done():
		err = errClientGone
	}
	if err != nil && pool.Cancel(w) {
		x.held = false
		x.rec.Queue = time.Since(began)
		return err
	}
	if err != nil {
		<-free
	}
	x.choice = w.Choice
	x.rec.Queue = time.Since(began)
	if err != nil {
		x.done(balancer.Refused, err, false)
	}
	return err
}

// try sends the request to the chosen instance once; a second time when an idle
// connection turns out to have been closed under us and that is safe.
func (x *exchange) try() error {
	u := x.choice.Upstream
	x.rec.Instance, x.rec.Member = u.ID(), u.Spec().Member
	if x.choice.Lost != balancer.CauseNone {
		x.rec.Session = x.choice.Lost.String()
		x.out.header[SessionLostHeader] = []string{lostValue(&x.choice)}
	}
	o := x.s.originFor(u)
	for fresh := false; ; fresh = true {
		began := time.Now()
		c, err := o.take(x.r.Context(), fresh)
		if err != nil {
			return err
		}
		if c.used {
			x.rec.Connect = 0
		} else {
			x.rec.Connect = time.Since(began)
		}
		began = time.Now()
		a, err := c.exchange(x.r.Context(), &x.out, x.interim)
		if err != nil {
			var xe *exchangeError
			if !fresh && errors.As(err, &xe) && xe.stale && !xe.answered && x.replayable(xe) && !errors.Is(err, errClientGone) && !errors.Is(err, errSlowOrigin) {
				continue
			}
			return err
		}
		x.rec.Response = time.Since(began)
		if a.status == http.StatusSwitchingProtocols {
			return x.tunnel(a)
		}
		return x.pass(a)
	}
}

// originFor returns the way to an upstream. One that left the pool in this
// moment gets a way of its own, without kept connections.
func (s *Server) originFor(u *balancer.Upstream) *origin {
	if v, ok := s.origins.Load(u.ID()); ok {
		return v.(*origin)
	}
	spec := u.Spec()
	o := s.newOrigin(spec.Addr, nil)
	if spec.Member != "" {
		o.addr = "127.0.0.1:0" // never plain to a member: refused at once
		if s.o.AgentTLS != nil {
			if cfg := s.o.AgentTLS(spec.Member); cfg != nil {
				o.addr, o.tls = spec.Addr, cfg.Clone()
				o.tls.ServerName = spec.ID + ".instance"
			}
		}
	}
	o.close()
	return o
}

// replayable reports whether the request can be sent once more without any
// chance of a second effect.
func (x *exchange) replayable(e *exchangeError) bool {
	if e != nil && e.sent && !idempotent(x.r.Method) {
		return false
	}
	return x.body == nil || x.out.body == nil || x.body.n.Load() == 0 && !x.body.whole()
}

// mayRetry reports whether another instance may get the request after err.
func (x *exchange) mayRetry(err error) bool {
	if errors.Is(err, errClientGone) || errors.Is(err, errSlowOrigin) {
		return false
	}
	var f *fault
	if errors.As(err, &f) || errors.Is(err, errBodyTooBig) || errors.Is(err, errSlowClient) || errors.Is(err, errBodyShort) {
		return false // the client's own
	}
	var xe *exchangeError
	if errors.As(err, &xe) {
		return x.replayable(xe)
	}
	return errors.Is(err, errDial) && x.replayable(nil)
}

// idempotent reports whether a method may be repeated (RFC 9110 section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// resultOf words an error for the balancer.
func resultOf(err error) balancer.Result {
	var f *fault
	switch {
	case errors.Is(err, errClientGone), errors.Is(err, errSlowClient), errors.Is(err, errBodyShort):
		return balancer.ClientAborted
	case errors.As(err, &f), errors.Is(err, errBodyTooBig):
		return balancer.Refused
	case errors.Is(err, errDial):
		return balancer.ConnectFailed
	case errors.Is(err, errSlowOrigin):
		return balancer.TimedOut
	}
	return balancer.ResponseFailed
}

// done accounts for the present choice, once.
func (x *exchange) done(r balancer.Result, err error, again bool) {
	if !x.held {
		return
	}
	x.held = false
	o := balancer.Outcome{
		Now: time.Now().UnixMilli(), Result: r, Status: x.rec.Status, BytesOut: x.bytes,
		Queue: max(x.rec.Queue, 0), Connect: max(x.rec.Connect, 0), Response: max(x.rec.Response, 0),
		Total: time.Since(x.began), Reused: x.rec.Connect == 0, Retried: again,
	}
	if x.body != nil {
		o.BytesIn = x.body.n.Load()
	}
	if err != nil {
		o.Detail = err.Error()
	}
	if x.choice.Upstream != nil {
		x.rec.Inflight = x.choice.Upstream.InFlight()
	}
	if x.site.siteState.pool.Done(&x.choice, o).CheckNow {
		x.s.probes.now(x.choice.Upstream.ID())
	}
}

// interim passes on early hints; other 1xx answers mean nothing to a browser.
func (x *exchange) interim(status int, h http.Header) {
	if status != http.StatusEarlyHints || !x.r.ProtoAtLeast(1, 1) {
		return
	}
	out := x.w.Header()
	for name, v := range h {
		out[name] = v
	}
	x.w.WriteHeader(status)
	for name := range h {
		delete(out, name)
	}
}

// pass streams an answer to the client.
func (x *exchange) pass(a *incoming) (err error) {
	defer a.finish()
	t := x.s.o.Conf.Timeouts
	a.pause = max(t.Body.Std(), t.Response.Std())
	if streams(a.header) {
		a.pause = t.Tunnel.Std()
		defer x.keep()()
	}
	x.head(a)
	if x.r.Method == http.MethodHead || a.kind == bodyNone {
		a.ended = true
		x.done(balancer.Answered, nil, false)
		return nil
	}
	if !a.buffered() {
		_ = x.rc.Flush() // the body may be long in coming; an event stream is open already
	}
	bp := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(bp)
	for {
		n, rerr := a.Read(*bp)
		if n > 0 {
			if err := x.write((*bp)[:n], a); err != nil {
				x.done(balancer.ClientAborted, errClientGone, false)
				return errClientGone
			}
		}
		switch {
		case errors.Is(rerr, io.EOF), rerr == nil && a.ended:
			x.trailers(a)
			x.done(balancer.Answered, nil, false)
			return nil
		case rerr != nil && x.r.Context().Err() != nil:
			x.done(balancer.ClientAborted, errClientGone, false)
			return errClientGone
		case rerr != nil:
			err := &fault{status: 502, cause: 'S', phase: 'D', text: "The answer broke off.", err: rerr}
			x.rec.Error = rerr.Error()
			x.done(balancer.ServerAborted, err, false)
			return err
		}
	}
}

// write sends a piece of the body. It is flushed when the instance has nothing
// more at the moment, so that events arrive when they happen.
func (x *exchange) write(p []byte, a *incoming) error {
	_ = x.rc.SetWriteDeadline(time.Now().Add(x.s.o.Conf.Timeouts.Body.Std()))
	n, err := x.w.Write(p)
	x.bytes += int64(n)
	if err == nil && !a.ended && !a.buffered() {
		err = x.rc.Flush()
	}
	if x.ci.guard == nil {
		_ = x.rc.SetWriteDeadline(time.Time{}) // a deadline that stays would end the stream
	}
	return err
}

// head sends the answer's head.
func (x *exchange) head(a *incoming) {
	removeHopByHop(a.header)
	out := x.w.Header()
	for name, v := range a.header {
		if name != "Content-Length" {
			out[name] = v
		}
	}
	if a.length >= 0 && a.kind != bodyChunked {
		out["Content-Length"] = a.header["Content-Length"]
	}
	if _, ok := out["Date"]; !ok {
		out["Date"] = nil // the instance's silence; net/http adds its own
		delete(out, "Date")
	}
	if _, ok := out["Content-Type"]; !ok {
		out["Content-Type"] = nil // not guessed from the body
	}
	if x.site.strip {
		x.remount(out)
	}
	x.affinity(out)
	if x.last || x.out.body != nil && !x.body.whole() && x.ci.guard != nil {
		out.Set("Connection", "close")
		x.lingers()
	}
	x.rec.Status = a.status
	x.wrote = true
	x.w.WriteHeader(a.status)
}

// affinity adds the sticky cookie where the balancer wants it issued.
func (x *exchange) affinity(out http.Header) {
	if !x.choice.Issue || !x.site.sticky {
		return
	}
	out.Add("Set-Cookie", x.site.setCookie(&x.choice, x.client.Proto == "https"))
	out.Set("Cache-Control", privateCache(out["Cache-Control"]))
}

// remount puts the mount path back into redirects of a site that does not see it.
func (x *exchange) remount(out http.Header) {
	for _, name := range []string{"Location", "Content-Location"} {
		v := out.Get(name)
		if strings.HasPrefix(v, "/") && !strings.HasPrefix(v, "//") && !underMount(v, x.site.mount) {
			out.Set(name, x.site.mount+v)
		}
	}
}

// trailers passes on the trailer fields of an answer.
func (x *exchange) trailers(a *incoming) {
	if len(a.trailer) > 0 {
		_ = x.rc.Flush() // else net/http finds a length for a short answer, which leaves no room for them
	}
	for name, v := range a.trailer {
		x.w.Header()[http.TrailerPrefix+name] = v
	}
}

// streams reports whether an answer is a stream of events whose silence means
// nothing.
func streams(h http.Header) bool {
	t, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch strings.TrimSpace(t) {
	case "text/event-stream", "application/x-ndjson", "application/grpc", "multipart/x-mixed-replace":
		return true
	}
	return false
}

// lingers has the guard close in two steps, so that the answer arrives.
func (x *exchange) lingers() {
	if x.ci.guard != nil {
		x.ci.guard.linger.Store(true)
	}
}

// redirect sends the client to TLS. The method stays what it was.
func (x *exchange) redirect(to string) {
	x.w.Header().Set("Location", to)
	x.w.Header().Set("Content-Length", "0")
	x.rec.Status, x.wrote = http.StatusPermanentRedirect, true
	x.ending(&fault{cause: 'L', phase: 'R'})
	x.ci.front.own.Add(1)
	if x.last || x.r.ContentLength != 0 {
		x.w.Header().Set("Connection", "close")
	}
	x.w.WriteHeader(http.StatusPermanentRedirect)
}

// refuse answers with a fault's page.
func (x *exchange) refuse(f *fault) {
	x.ending(f)
	x.ci.front.own.Add(1)
	switch {
	case f.status == http.StatusTooManyRequests || f.status == 421 || f.status == 405:
		x.ci.front.denied.Add(1)
	case f.cause == 'P' && x.site == nil && f != faultUnknownHost:
		x.ci.front.bad.Add(1)
	}
	x.rec.Status = f.status
	if x.rec.Error == "" && f.err != nil {
		x.rec.Error = f.err.Error()
	}
	if f.status == statusClientClosed {
		x.aborted = true
		return
	}
	body, contentType := errorPage(f, x.r.Header.Get("Accept"))
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	if f.retry > 0 {
		h.Set("Retry-After", itoa(int(f.retry/time.Second)))
	}
	if f.status == http.StatusMethodNotAllowed {
		h.Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	}
	if f.closed || x.last || x.r.ContentLength != 0 && (x.body == nil || !x.body.whole()) {
		h.Set("Connection", "close")
		x.lingers()
	}
	x.wrote = true
	_ = x.rc.SetWriteDeadline(time.Now().Add(x.s.o.Conf.Timeouts.Body.Std()))
	x.w.WriteHeader(f.status)
	if x.r.Method != http.MethodHead {
		n, _ := x.w.Write(body)
		x.bytes += int64(n)
	}
}

// ending notes HAProxy's two letters, once.
func (x *exchange) ending(f *fault) {
	if x.rec.End[0] == 0 && f.cause != 0 {
		x.rec.End[0], x.rec.End[1] = f.cause, f.phase
	}
}

// end accounts for the exchange, whatever became of it, and turns a panic into
// the loss of this one request.
func (x *exchange) end() {
	p := recover()
	if p != nil && p != http.ErrAbortHandler {
		x.s.panics.Add(1)
		x.s.log.Error("request panicked", "panic", p, "stack", string(debug.Stack()))
		x.rec.Error = "panic"
		if x.wrote {
			x.aborted = true
		} else {
			x.refuse(faultInternal)
		}
	}
	if x.held {
		x.done(balancer.Refused, nil, false)
	}
	x.account()
	if x.aborted || p == http.ErrAbortHandler {
		panic(http.ErrAbortHandler) // net/http cuts the connection or resets the stream
	}
}

// account writes the log line and the counters.
func (x *exchange) account() {
	now := time.Now()
	f := x.ci.front
	ms := now.UnixMilli()
	total := now.Sub(x.began)
	f.requests.Add(1)
	f.reqRate.Add(ms)
	if x.ci.guard != nil {
		f.h1req.Add(1)
	} else {
		f.h2req.Add(1)
	}
	f.status[class(x.rec.Status)].Add(1)
	f.bytesOut.Add(uint64(x.bytes))
	var in int64
	if x.body != nil {
		in = x.body.n.Load()
		f.bytesIn.Add(uint64(in))
	}
	if st := x.site; st != nil {
		x.rec.SiteReqs = int(st.running.Add(-1)) + 1
		st.requests[class(x.rec.Status)].Inc()
		st.duration.Update(total.Seconds())
		st.bytesIn.AddInt64(in)
		st.bytesOut.AddInt64(x.bytes)
		x.rec.Site = st.name
	}
	if x.aborted && x.ci.guard == nil {
		x.resetBudget()
	}
	if x.s.o.AccessLog == nil {
		return
	}
	x.log(in, total)
}

// maxResets is how many requests of one HTTP/2 connection may be given up by
// the client before the connection is closed (CVE-2023-44487 and its kin).
const maxResets = 1000

func (x *exchange) resetBudget() {
	if x.ci.resets.Add(1) > maxResets {
		_ = x.ci.conn.Close()
	}
}

func (x *exchange) log(in int64, total time.Duration) {
	r := &x.rec
	r.At, r.TLS, r.Frontend = x.began, x.ci.secure, x.ci.front.name
	r.Client = x.ci.peer
	if x.client.Addr.IsValid() {
		r.Client = netip.AddrPortFrom(x.client.Addr, x.ci.peer.Port())
	}
	if x.target != "" {
		r.Method, r.Host, r.Target, r.Proto = x.r.Method, x.r.Host, redact(x.target), x.r.Proto
	}
	r.BytesIn, r.BytesOut, r.Total = in, x.bytes, total
	r.Active = int(x.ci.front.conns.Load())
	x.cookieState()
	r.UserAgent = x.r.UserAgent()
	r.Referer, _, _ = strings.Cut(x.r.Referer(), "?")
	x.s.o.AccessLog.Append(r)
}

// cookieState fills in the last two letters of the termination state.
func (x *exchange) cookieState() {
	if x.site == nil || !x.site.sticky || x.choice.Upstream == nil {
		return
	}
	c := &x.choice
	seen, sent := byte('N'), byte('N')
	switch {
	case c.Pinned:
		seen = 'V'
	case c.Lost != balancer.CauseNone:
		seen = 'D'
	case c.Refused == balancer.RefusedIdle:
		seen = 'E'
	case c.Refused == balancer.RefusedLife:
		seen = 'O'
	case c.Refused != balancer.Honoured:
		seen = 'I'
	}
	switch {
	case c.Issue && c.Pinned:
		sent = 'U'
	case c.Issue:
		sent = 'I'
	}
	x.rec.End[2], x.rec.End[3] = seen, sent
}

// recorder counts what a mounted handler answers.
type recorder struct {
	http.ResponseWriter
	x *exchange
}

func (r *recorder) WriteHeader(status int) {
	r.x.rec.Status, r.x.wrote = status, true
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if !r.x.wrote {
		r.WriteHeader(http.StatusOK)
	}
	n, err := r.ResponseWriter.Write(p)
	r.x.bytes += int64(n)
	return n, err
}
