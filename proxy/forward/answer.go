package forward

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/internal/alias"
	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/fault"
	"portico/proxy/http1"
	"portico/proxy/origin"
	"portico/proxy/sticky"
)

// Hinted implements exchange.Handler.
func (h *Handler) Hinted(r *http1.Request, a *http1.Response, d *exchange.Decision) []byte {
	f := flightOf(d)
	defer f.recovered(h, r, nil)
	f.back = f.remap(f.back[:0], a)
	return f.back
}

// Answered implements exchange.Handler.
func (h *Handler) Answered(r *http1.Request, a *http1.Response, d *exchange.Decision) {
	f := flightOf(d)
	defer f.recovered(h, r, nil)
	b := f.back[:0]
	if a.Status == http.StatusSwitchingProtocols {
		f.tunnel = true
		f.h.Tunnels.Add(1)
	}
	events := streamsBytes(a.First(http1.ContentType))
	if events {
		d.Silence = f.h.Tunnel
	}
	b = f.remap(b, a)
	f.h.noteLost(f.site, &f.choice)
	over := ""
	if end := endOf(a); end != nil || f.site.Logout != "" {
		over = f.site.Over(&f.choice, f.pick.App, f.path, alias.String(end), f.client.Proto == "https", f.h.Clock.Millis(time.Now()))
		a.Drop(sticky.SessionEndField)
	}
	switch {
	case over != "":
		b = append(append(append(b, "Set-Cookie: "...), over...), "\r\n"...)
	case len(f.site.Profile.Places) > 0:
		f.h.learn(f.site, &f.choice, f.pick.App, valuesOf(a, "set-cookie"), func(name string) string { return alias.String(a.Get(strings.ToLower(name))) })
	}
	if f.choice.Issue && f.site.Sticky {
		var value [seal.MaxCookieLen]byte
		b = append(append(append(b, "Set-Cookie: "...), f.site.Cookie.Set(f.site.State.Pool.AppendCookie(value[:0], &f.choice), f.client.Proto == "https")...), "\r\n"...)
		if f.choice.New && len(f.pick.Ticket) > 0 {
			b = append(append(append(b, "Set-Cookie: "...), f.site.Cookie.KeepPlace("", 0, f.client.Proto == "https")...), "\r\n"...)
		}
		if a.Status != http.StatusSwitchingProtocols {
			b = append(append(append(b, "Cache-Control: "...), sticky.PrivateCache(valuesOf(a, "cache-control"))...), "\r\n"...)
			a.Drop("cache-control")
		}
	}
	f.site.State.Pool.Answering(&f.choice)
	if f.tunnel || events {
		f.h.LongLived.begin(f)
	}
	f.back = b
	d.AnswerFields = b
}

// endOf is the application's word that the session is over, nil without one.
func endOf(a *http1.Response) []byte {
	if !a.Private() {
		return nil
	}
	return a.Get(sticky.SessionEndField)
}

func valuesOf(a *http1.Response, name string) (values []string) {
	for i := range a.Fields {
		if k := &a.Fields[i]; strings.EqualFold(alias.String(a.Name(k)), name) {
			values = append(values, alias.String(a.Value(k)))
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

// remap makes the addresses that an application gives the visitor's.
func (f *flight) remap(b []byte, a *http1.Response) []byte {
	m := f.h.addressing(f.site, &f.client, f.choice.Upstream)
	if a.SetsCookies() {
		b = remapField(b, a, &m, "Set-Cookie")
	}
	if a.First(http1.Link) != nil {
		b = remapField(b, a, &m, "Link")
	}
	if namesAddresses(a.Status) || m.mount != "" {
		for _, name := range addressFields {
			b = remapField(b, a, &m, name)
		}
	}
	return b
}

// remapField writes all fields of a name anew when one has to change. The admin page's login is nobody else's to set, here as elsewhere.
func remapField(b []byte, a *http1.Response, m *addressing, name string) []byte {
	named := func(k *http1.Field) bool { return strings.EqualFold(alias.String(a.Name(k)), name) }
	changes := func(k http1.Field) bool {
		if !named(&k) {
			return false
		}
		_, changed := m.field(name, alias.String(a.Value(&k)))
		return changed
	}
	if !slices.ContainsFunc(a.Fields, changes) {
		return b
	}
	for i := range a.Fields {
		k := &a.Fields[i]
		if !named(k) || k.Kind == http1.KindSetCookie && http1.SetsCookie(a.Value(k), sticky.AdminCookie) {
			continue
		}
		v, _ := m.field(name, alias.String(a.Value(k)))
		b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
	}
	a.Drop(strings.ToLower(name))
	return b
}

// Failed implements exchange.Handler.
func (h *Handler) Failed(r *http1.Request, p *exchange.Peer, d *exchange.Decision, why exchange.Why) {
	f := flightOf(d)
	defer f.recovered(h, r, d)
	if f.h == nil || why.Cause == account.CauseRequest && f.site == nil {
		f.reset(h, h.Fronts[p.Listener], p.Now, d.Record) // refused before it was routed
	}
	err := errorOf(why)
	if f.held {
		f.rec.Error = err.Error()
	}
	again := why.Retry && f.mayGoElsewhere(err) && f.site.State.Pool.AllowRetry(f.h.Clock.Millis(time.Now()))
	f.done(balancer.Outcome{Result: resultOf(err), Detail: err.Error(), Retried: again})
	if again {
		f.last = err
		f.rec.Again(f.choice.Upstream.Spec().Name, err)
		f.pick.Exclude = append(f.pick.Exclude, f.choice.Upstream)
		f.prepare(r, d)
		if flt := f.choose(r, d); flt != nil {
			f.refuse(flt, r, d)
		}
		return
	}
	f.refuse(fault.For(err), r, d)
}

// mayGoElsewhere reports whether another instance may be tried after err. A visitor's own is not passed over for what the proxy lacks.
func (f *flight) mayGoElsewhere(err error) bool {
	return f.site != nil && f.held && f.rec.Retries < f.h.Retries && !(f.choice.Pinned && errors.Is(err, fault.ErrNoRoom))
}

// errorOf words what the engine says as the errors of the data path.
func errorOf(why exchange.Why) error {
	switch why.Cause {
	case account.CauseRequest:
		switch why.Fault {
		case http1.FaultBodyLarge:
			return fault.ErrBodyTooBig
		case http1.FaultBodyTimeout:
			return fault.ErrSlowClient
		case http1.FaultHeaderTimeout:
			return fault.HeaderTimeout
		}
		return fault.Refusal(why.Fault.Status(), "The request is not valid HTTP.")
	case account.CauseConnect, account.CauseConnectTime:
		return origin.ErrDial
	case account.CauseBusy:
		return fault.ErrNoRoom
	case account.CauseTimeout:
		return fault.ErrSlowOrigin
	case account.CauseReset:
		return fault.ErrGaveUp
	case account.CauseResponse:
		if why.Fault == http1.FaultNoTunnel {
			return fault.NoTunnel
		}
		return errors.Join(origin.ErrBadResponse, why.Fault)
	case account.CauseClient:
		return fault.ErrClientGone
	}
	return fault.ErrBrokeOff
}

// resultOf words an error for the balancer.
func resultOf(err error) balancer.Result {
	var f *fault.Fault
	switch {
	case errors.Is(err, fault.ErrClientGone), errors.Is(err, fault.ErrSlowClient):
		return balancer.ClientAborted
	case errors.As(err, &f), errors.Is(err, fault.ErrBodyTooBig), errors.Is(err, fault.ErrNoRoom):
		return balancer.Refused
	case errors.Is(err, origin.ErrDial):
		return balancer.ConnectFailed
	case errors.Is(err, fault.ErrSlowOrigin):
		return balancer.TimedOut
	case errors.Is(err, fault.ErrGaveUp): // it lives
		return balancer.ServerAborted
	}
	return balancer.ResponseFailed
}

// refuse makes the decision a fault's page.
func (f *flight) refuse(flt *fault.Fault, r *http1.Request, d *exchange.Decision) {
	f.fault = flt
	f.rec.Session = "" // nobody was told of a loss
	f.front.Own.Add(1)
	switch {
	case flt.Status == http.StatusTooManyRequests || flt.Status == 421 || flt.Status == 405:
		f.front.Denied.Add(1)
	case flt.Cause == 'P' && f.site == nil && flt != fault.UnknownHost:
		f.front.Bad.Add(1)
	}
	if f.rec.Error == "" && flt.Err != nil {
		f.rec.Error = flt.Err.Error()
	}
	body, contentType := fault.Answer(flt, alias.String(r.Get("accept")))
	b := append(f.back[:0], "Content-Type: "...)
	b = append(b, contentType...)
	b = append(b, "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"+
		"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n"...)
	if flt.Retry > 0 {
		b = append(strconv.AppendInt(append(b, "Retry-After: "...), int64(flt.Retry/time.Second), 10), "\r\n"...)
	}
	if flt.Cookie != "" {
		b = append(append(append(b, "Set-Cookie: "...), flt.Cookie...), "\r\n"...)
	}
	if flt.Status == http.StatusMethodNotAllowed {
		b = append(b, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"...)
	}
	b = f.date(b)
	f.back = b
	d.Verdict, d.Status, d.Header, d.Body = exchange.Answer, flt.Status, b, body
	d.AnswerFields = nil
	d.Broken = d.Broken || flt.Closed
}

func (f *flight) date(b []byte) []byte {
	return append(f.rec.At.UTC().AppendFormat(append(b, "Date: "...), http.TimeFormat), "\r\n"...)
}

// redirect sends the client to TLS. The method stays what it was.
func (f *flight) redirect(to string, d *exchange.Decision) {
	f.fault = &fault.Fault{Cause: 'L', Phase: 'R'}
	f.front.Own.Add(1)
	f.back = f.date(append(append(append(f.back[:0], "Location: "...), to...), "\r\n"...))
	d.Verdict, d.Status, d.Header = exchange.Answer, http.StatusPermanentRedirect, f.back
}
