package proxy

import (
	"net/http"
	"time"
)

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
	if f.cookie != "" {
		h.Add("Set-Cookie", f.cookie)
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
