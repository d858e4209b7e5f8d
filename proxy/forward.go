package proxy

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"portico/balancer"
	"portico/proxy/http1"
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
		if f := x.notice(); f != nil {
			x.done(balancer.Refused, nil, false)
			return f
		}
		if x.choice.Queue {
			if err := x.wait(pool); err != nil {
				return err
			}
			if !x.choice.Admitted() { // it left while the request waited
				x.pick.Exclude = append(x.pick.Exclude, x.choice.Upstream)
				x.done(balancer.Refused, nil, true)
				try--
				continue
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

// notice returns the page about a lost session where there is one to be shown.
func (x *exchange) notice() *fault {
	if !x.site.wantsNotice || x.choice.Lost == balancer.CauseNone {
		return nil
	}
	h := x.r.Header
	return x.site.notice(&x.choice, x.pick.Cookie, cookieValue(h["Cookie"], x.site.cookie+noticeEnding),
		navigation(x.r.Method, h.Get("Sec-Fetch-Mode"), h.Get("Accept")), x.client.Proto == "https")
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
		return x.site.attend(&x.choice, x.pick.Ticket, x.client.Proto == "https")
	}
	return errNoUpstream
}

// agentGrace is how long an instance that takes no connections may be behind an
// agent that is only restarting. It takes an agent a second or two to be back.
const agentGrace = 3 * time.Second

// slowGrace is how long an instance may let its checks wait before its visitors are
// moved, while its agent says that the process lives: a pause for garbage, a burst
// of visitors or a deploy beside it takes seconds, and a move costs every session.
const slowGrace = 10 * time.Second

// How long a visitor waits for the verdict on the instance that holds the session
// when it refused a connection: as long as the checks need to be sure. With
// nowhere else to go the answer should come sooner.
const (
	awaitVerdict = agentGrace + time.Second
	awaitAlone   = 2 * time.Second
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
	if own.Undecided() {
		select {
		case <-verdict:
		case <-timer.C:
		case <-x.r.Context().Done():
		}
	}
	x.done(balancer.Refused, nil, true)
	x.pick.Patient = false
	if !own.Undecided() {
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
	} else {
		delete(x.out.header, SessionLostHeader)
	}
	o := x.s.originFor(u)
	for fresh := false; ; fresh = true {
		began := time.Now()
		x.step(http1.StepConnect, x.rec.Retries+1)
		c, err := o.take(x.r.Context(), fresh)
		if err != nil {
			x.step(http1.StepConnectFailed, int(http1.CauseConnect))
			return err
		}
		if c.used {
			x.rec.Connect = 0
			x.step(http1.StepConnected, 1)
		} else {
			x.rec.Connect = time.Since(began)
			x.step(http1.StepConnected, 0)
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
		x.step(http1.StepHead, a.status)
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
	case errors.As(err, &f), errors.Is(err, errBodyTooBig), errors.Is(err, errExhausted):
		return balancer.Refused
	case errors.Is(err, errDial):
		return balancer.ConnectFailed
	case errors.Is(err, errSlowOrigin):
		return balancer.TimedOut
	}
	return balancer.ResponseFailed
}
