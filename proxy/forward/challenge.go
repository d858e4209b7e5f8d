package forward

import (
	"bytes"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/fault"
	"portico/proxy/http1"
)

// challengePath is where an ACME authority looks for tokens (RFC 8555, 8.3).
const challengePath = "/.well-known/acme-challenge/"

// challengeLimit is how long a token may take to be found.
const challengeLimit = 10 * time.Second

// proof is the answer to a challenge.
type proof struct {
	status int
	header http.Header
	body   bytes.Buffer
	done   atomic.Bool // nothing of it changes any more
}

// Header implements http.ResponseWriter.
func (p *proof) Header() http.Header { return p.header }

// WriteHeader implements http.ResponseWriter.
func (p *proof) WriteHeader(status int) {
	if p.status == 0 {
		p.status = status
	}
}

// Write implements http.ResponseWriter.
func (p *proof) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	return p.body.Write(b)
}

// challenged reports whether a request is for the ACME handler, which alone answers there: no site ever sees it.
func (f *flight) challenged(p *exchange.Peer) bool {
	return f.h.Challenge != nil && !p.HTTPS && strings.HasPrefix(f.raw, challengePath)
}

// prove has the handler look for a token. It may ask the catalog, so it does that elsewhere, and the request waits.
func (f *flight) prove(r *http1.Request, p *exchange.Peer, d *exchange.Decision) {
	in := &http.Request{
		Method: string(r.Method), URL: &url.URL{Path: strings.Clone(f.raw)}, Host: string(r.Host), RequestURI: strings.Clone(f.target),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: r.Minor, Header: http.Header{}, Body: http.NoBody, RemoteAddr: p.Addr.String(),
	}
	out, wake, h := &proof{header: http.Header{}}, d.Wake, f.h
	f.proof, f.waited, f.limit = out, time.Now(), challengeLimit
	h.proofs.Go(func() {
		defer wake()
		defer out.done.Store(true)
		defer func() {
			if p := recover(); p != nil {
				h.Panics.Add(1)
				h.Log.Error("challenge panicked", "panic", p, "stack", string(debug.Stack()))
				out.status = 0
			}
		}()
		h.Challenge.ServeHTTP(out, in)
		out.WriteHeader(http.StatusOK)
	})
	f.park(d)
}

// proved gives the answer of the handler once it is there.
func (f *flight) proved(d *exchange.Decision) *fault.Fault {
	p := f.proof
	switch {
	case !p.done.Load() && time.Since(f.waited) < f.limit:
		f.park(d)
		return nil
	case !p.done.Load(), p.status == 0:
		return fault.Internal
	}
	b := f.date(f.back[:0])
	for _, name := range slices.Sorted(maps.Keys(p.header)) {
		for _, v := range p.header[name] {
			if name != "Content-Length" && name != "Date" {
				b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
			}
		}
	}
	f.back = b
	d.Verdict, d.Status, d.Header, d.Body = exchange.Answer, p.status, b, p.body.Bytes()
	return nil
}
