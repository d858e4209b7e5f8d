package proxy

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"portico/balancer"
)

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
	x.s.noteLost(x.site, &x.choice)
	x.site.siteState.pool.Answering(&x.choice)
	end := out.Get(SessionEndHeader)
	delete(out, SessionEndHeader)
	if set := x.site.over(&x.choice, x.pick.App, x.path, end, x.client.Proto == "https"); set != "" {
		out.Add("Set-Cookie", set)
		return
	}
	x.s.learn(x.site, &x.choice, x.pick.App, out["Set-Cookie"], out.Get)
	if !x.choice.Issue || !x.site.sticky {
		return
	}
	out.Add("Set-Cookie", x.site.setCookie(&x.choice, x.client.Proto == "https"))
	if x.choice.New && len(x.pick.Ticket) > 0 {
		out.Add("Set-Cookie", x.site.placeCookie("", 0, x.client.Proto == "https"))
	}
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
