package proxy

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"portico/balancer"
	"portico/proxy/http1"
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
	sized   int64 // size of the request's head; of HTTP/2, what it would take as text
	wrote   bool  // the answer's head is out
	aborted bool  // the answer broke off: the connection must show it

	steps []http1.Step // for the recent exchanges
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
	if s.easing.Load() && r.Header.Get("Upgrade") == "" {
		w.Header().Set("Connection", "close") // over HTTP/2, net/http makes it a GOAWAY
	}
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
		x.target, x.sized = x.r.RequestURI, textSize(x.r)
		return x.openH2()
	}
	info := x.ci.guard.next()
	x.rec.Request = x.began.Sub(info.began)
	x.began = info.began
	x.target, x.sized = info.target, int64(info.size)
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
	if cl, ok := h["Content-Length"]; ok && !soundLength(cl, x.r.ContentLength) {
		return faultBadRequest
	}
	for _, e := range h["Expect"] {
		if !strings.EqualFold(e, "100-continue") {
			return refusal(http.StatusExpectationFailed, "The request expects what the server cannot do.")
		}
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

// soundLength reports whether the field says one length, and the one that the
// body has: net/http takes what it cannot read for 0, and looks at no length where
// there is no body (RFC 9113 section 8.1.1).
func soundLength(field []string, body int64) bool {
	if len(field) != 1 || len(field[0]) > 18 {
		return false
	}
	n, err := strconv.ParseUint(field[0], 10, 63)
	return err == nil && int64(n) == body
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
	if len(values) > 0 {
		st.siteState.pool.Expect(values[0])
	}
	addr := x.client.Addr.As16()
	x.pick = balancer.Request{
		Visitor: x.s.bal.HashVisitor(addr[:], []byte(x.r.UserAgent())),
		Hash:    st.policyHash(&x.client, x.path, x.r.Header.Get),
		Patient: true,
	}
	if len(values) > 0 {
		x.pick.Cookie, x.pick.Others, x.pick.Expected = values[0], values[1:], true
	}
	x.pick.App = x.s.bears(st, stdFields(x.r.Header), x.target)
	if st.asksTicket() {
		x.pick.Ticket = []byte(cookieValue(x.r.Header["Cookie"], st.place))
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
		if _, err := io.ReadFull(x.body, x.out.held); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return faultFor(errBodyShort)
		} else if err != nil {
			return faultFor(err)
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
