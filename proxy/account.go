package proxy

import (
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"portico/balancer"
	"portico/proxy/http1"
)

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
	o.BytesIn = x.received()
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
	in := x.received()
	f.bytesIn.Add(uint64(in))
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
	x.describe(in, total)
	if x.s.o.AccessLog != nil {
		x.log()
	}
	x.remember()
}

// maxResets is how many requests of one HTTP/2 connection may be given up by
// the client before the connection is closed (CVE-2023-44487 and its kin).
const maxResets = 1000

func (x *exchange) resetBudget() {
	if x.ci.resets.Add(1) > maxResets {
		_ = x.ci.conn.Close()
	}
}

// describe says who asked and what became of it, and gives the exchange its number.
func (x *exchange) describe(in int64, total time.Duration) {
	r := &x.rec
	r.ID = x.s.recent.id(x.lane())
	r.At, r.TLS, r.Frontend = x.began, x.ci.secure, x.ci.front.name
	r.Client = x.ci.peer
	if x.client.Addr.IsValid() {
		r.Client = netip.AddrPortFrom(x.client.Addr, x.ci.peer.Port())
	}
	r.BytesIn, r.BytesOut, r.Total = in, x.bytes, total
	x.cookieState()
}

// lane spreads the exchanges of net/http, which has no loops, by connection.
func (x *exchange) lane() int { return int(x.ci.peer.Port()) }

func (x *exchange) log() {
	r := &x.rec
	if x.target != "" {
		r.Method, r.Host, r.Target, r.Proto = x.r.Method, x.r.Host, redact(x.target), x.r.Proto
	}
	r.Active = int(x.ci.front.conns.Load())
	r.UserAgent = x.r.UserAgent()
	r.Referer, _, _ = strings.Cut(x.r.Referer(), "?")
	x.s.o.AccessLog.Append(r)
}

// remember files the exchange among the recent ones.
func (x *exchange) remember() {
	s := x.s.recent.begin(x.lane())
	if s == nil {
		return
	}
	if x.target == "" {
		s.t.fill(&x.rec, &x.choice, nil, "", "", "") // refused before it was a request
	} else {
		s.t.fill(&x.rec, &x.choice, x.pick.Exclude, x.r.Method, x.r.Host, x.target)
	}
	s.t.note(x.r.Proto, http1.CauseNone, http1.NoFault, 0, x.steps)
	x.s.recent.end(x.lane(), s)
}

// step notes what happened for the recent exchanges.
func (x *exchange) step(what http1.StepKind, n int) {
	if x.steps == nil {
		x.steps = make([]http1.Step, 0, 8)
	}
	if len(x.steps) < tracedSteps {
		x.steps = append(x.steps, http1.Step{What: what, N: int32(n), At: int32(time.Since(x.began).Microseconds())})
	}
}

// cookieState fills in the last two letters of the termination state.
func (x *exchange) cookieState() {
	if x.site == nil || !x.site.sticky || x.choice.Upstream == nil {
		return
	}
	x.rec.End[2], x.rec.End[3] = cookieLetters(&x.choice)
}

// cookieLetters are what the log says about the cookie that came and the one
// that was sent.
func cookieLetters(c *balancer.Choice) (seen, sent byte) {
	seen, sent = 'N', 'N'
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
	return seen, sent
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

// received is how many bytes the client has sent: the head, and what was read of the
// body, without the framing that net/http has taken off.
func (x *exchange) received() int64 {
	n := x.sized
	if x.body != nil {
		n += x.body.n.Load()
	}
	return n
}

// textSize is how many bytes a request's head takes in HTTP/1.1. HTTP/2 compresses
// it; how much of that fell to one request, the standard library does not tell.
func textSize(r *http.Request) int64 {
	n := len(r.Method) + len(r.RequestURI) + len("  HTTP/1.1\r\nHost: \r\n\r\n") + len(r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return int64(n)
}
