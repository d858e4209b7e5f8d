package rig

import (
	"strings"
	"sync"

	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/http1"
)

// Handler routes everything to its upstreams in turn of failures, and remembers the records.
type Handler struct {
	Upstreams []*exchange.Upstream
	Decide    func(r *http1.Request, p *exchange.Peer, d *exchange.Decision) // after the default decision, may change it

	mu      sync.Mutex
	records []Record
}

// Record is what a test may want of an account.Record, copied.
type Record struct {
	Method, Target string
	Status         int
	Cause          account.Cause
	Fault          http1.Fault
	Attempts       int
	In, Out        int64
	Steps          string
}

// Route implements exchange.Handler.
func (h *Handler) Route(r *http1.Request, p *exchange.Peer, d *exchange.Decision) {
	if len(h.Upstreams) > 0 {
		d.Upstream = h.Upstreams[0]
	}
	d.StripCookie = "portico-shop"
	if _, n := r.Cookie("new"); n > 0 {
		d.AnswerFields = append(d.Scratch[:0], "Set-Cookie: portico-shop=x; Path=/; HttpOnly\r\n"...)
	}
	if h.Decide != nil {
		h.Decide(r, p, d)
	}
}

// Answered implements exchange.Handler.
func (h *Handler) Answered(*http1.Request, *http1.Response, *exchange.Decision) {}

// Hinted implements exchange.Handler.
func (h *Handler) Hinted(*http1.Request, *http1.Response, *exchange.Decision) []byte { return nil }

// Failed implements exchange.Handler.
func (h *Handler) Failed(_ *http1.Request, _ *exchange.Peer, d *exchange.Decision, why exchange.Why) {
	if !why.Retry {
		return
	}
	for i, u := range h.Upstreams {
		if u == d.Upstream && i+1 < len(h.Upstreams) {
			d.Verdict, d.Upstream, d.Connect = exchange.Forward, h.Upstreams[i+1], 0
			return
		}
	}
}

// Finished implements exchange.Handler.
func (h *Handler) Finished(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
	rec := d.Record
	var steps []string
	for _, s := range rec.Steps {
		steps = append(steps, s.What.String())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, Record{
		string(r.Method), string(r.Target), rec.Status, rec.Cause, rec.Fault, rec.Attempts, rec.BytesIn, rec.BytesOut, strings.Join(steps, " "),
	})
}

// Records returns what Finished was told.
func (h *Handler) Records() []Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Record(nil), h.records...)
}

// With is a handler with these origins as upstreams.
func With(o *Origin, more ...*Origin) *Handler {
	h := &Handler{}
	for _, o := range append([]*Origin{o}, more...) {
		h.Upstreams = append(h.Upstreams, &exchange.Upstream{Addr: o.Addr()})
	}
	return h
}
