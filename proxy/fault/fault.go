// Package fault is what portico answers by itself: why, with which status, and the page or the
// JSON that tells the visitor. Nothing that came with a request is in it.
package fault

import (
	"context"
	"errors"
	"fmt"
	"html"
	"strconv"
	"strings"
	"time"

	"portico/balancer"
	"portico/proxy/http1"
	"portico/proxy/origin"
)

// Fault is why portico answers a request itself: the status, the sentence for
// the visitor, and the two letters that HAProxy's log format has for it. Every
// error of the data path becomes one in this package and nowhere else.
type Fault struct {
	Status int
	Cause  byte          // first letter of the termination state: who ended it
	Phase  byte          // second letter: what was going on
	text   string        // for the visitor; says nothing about the inside
	Retry  time.Duration // Retry-After, zero: none
	Err    error         // for the log only
	Closed bool          // the client's connection cannot be used any more
	kept   bool          // the visitor's session is kept, and cannot be reached
	renews bool          // with kept: the page renews itself

	place  *balancer.Place // in the waiting room; nil: it is about something else
	page   string          // whole, instead of the usual one; "": the usual one
	Cookie string          // Set-Cookie field for the visitor; "": none
}

// Error says what operators read.
func (f *Fault) Error() string {
	if f.Err != nil {
		return fmt.Sprintf("%d: %v", f.Status, f.Err)
	}
	return fmt.Sprintf("%d: %s", f.Status, f.text)
}

// Unwrap returns the error that is for the log only.
func (f *Fault) Unwrap() error { return f.Err }

// StatusClientClosed is nginx's number for a client that went away before it
// had its answer. It is logged and never sent.
const StatusClientClosed = 499

// What goes wrong with a request.
var (
	ErrClientGone = errors.New("client closed the connection")
	ErrSlowClient = errors.New("client sends slower than the minimum rate")
	ErrBodyTooBig = errors.New("request body is larger than the site allows")
	errNoUpstream = errors.New("no instance can take the request")
	ErrQueueFull  = errors.New("no instance became free in time")
	ErrNoRoom     = errors.New("the proxy has no descriptor left for a connection to the instance")
	ErrBrokeOff   = errors.New("instance closed the connection before it had answered")
	ErrGaveUp     = errors.New("instance has given the request up")
	ErrSlowOrigin = errors.New("instance did not answer in time")
)

// For returns what a visitor is told of an error.
func For(err error) *Fault {
	var f *Fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, ErrClientGone), errors.Is(err, context.Canceled):
		return &Fault{Status: StatusClientClosed, Cause: 'C', Phase: 'H', text: "The client went away.", Err: err, Closed: true}
	case errors.Is(err, ErrBodyTooBig):
		return &Fault{Status: 413, Cause: 'P', Phase: 'R', text: "The request is larger than this site accepts.", Err: err, Closed: true}
	case errors.Is(err, ErrSlowClient):
		return &Fault{Status: 408, Cause: 'c', Phase: 'D', text: "The request took too long to arrive.", Err: err, Closed: true}
	case errors.Is(err, errNoUpstream):
		return &Fault{Status: 503, Cause: 'S', Phase: 'C', text: "The site is not available at the moment. Please try again shortly.", Retry: 2 * time.Second, Err: err}
	case errors.Is(err, ErrQueueFull):
		return &Fault{Status: 503, Cause: 's', Phase: 'Q', text: "The site is busy at the moment. Please try again shortly.", Retry: 5 * time.Second, Err: err}
	case errors.Is(err, ErrNoRoom):
		return &Fault{Status: 503, Cause: 'R', Phase: 'C', text: "The site is busy at the moment. Please try again shortly.", Retry: 2 * time.Second, Err: err}
	case errors.Is(err, ErrSlowOrigin):
		return &Fault{Status: 504, Cause: 's', Phase: 'H', text: "The site took too long to answer.", Err: err}
	case errors.Is(err, origin.ErrDial):
		return &Fault{Status: 503, Cause: 'S', Phase: 'C', text: "The site is not available at the moment. Please try again shortly.", Retry: 2 * time.Second, Err: err}
	}
	return &Fault{Status: 502, Cause: 'S', Phase: 'H', text: "The site gave no valid answer.", Err: err}
}

// Refusal is a fault for a request that is wrong in itself.
func Refusal(status int, text string) *Fault {
	return &Fault{Status: status, Cause: 'P', Phase: 'R', text: text}
}

// The faults that are always the same.
var (
	BadRequest    = Refusal(400, "The request is not valid HTTP.")
	UnknownHost   = Refusal(404, "There is no such site here.")
	Misdirected   = Refusal(421, "This connection is not for that site.")
	RateLimited   = &Fault{Status: 429, Cause: 'P', Phase: 'R', text: "Too many requests. Please slow down.", Retry: time.Second}
	NoTunnel      = &Fault{Status: 502, Cause: 'S', Phase: 'H', text: "The site takes no WebSocket.", Err: http1.FaultNoTunnel}
	Internal      = &Fault{Status: 500, Cause: 'I', Phase: 'H', text: "Something went wrong in the proxy."}
	HeaderTimeout = &Fault{Status: 408, Cause: 'c', Phase: 'R', text: "The request took too long to arrive.", Closed: true}
)

// Answer returns the body and its type for a fault: JSON for who asks for
// it and not for HTML, a small page for everybody else. Neither holds anything
// that came with the request.
func Answer(f *Fault, accept string) (body []byte, contentType string) {
	if f.page != "" {
		return []byte(f.page), "text/html; charset=utf-8"
	}
	if f.place != nil {
		return waitingAnswer(f, accept)
	}
	if f.kept {
		return awayAnswer(f, accept)
	}
	title := http1.Reason(f.Status)
	if strings.Contains(accept, "json") && !strings.Contains(accept, "text/html") {
		return fmt.Appendf(nil, `{"error":{"code":%s,"message":%s}}`+"\n",
			strconv.Quote(strings.ReplaceAll(strings.ToLower(title), " ", "_")), strconv.Quote(f.text)), "application/json"
	}
	return fmt.Appendf(nil, `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>%d %s</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem;color:#222}h1{font-size:1.4rem}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}</style></head>
<body><h1>%d %s</h1><p>%s</p></body></html>
`, f.Status, title, f.Status, title, html.EscapeString(f.text)), "text/html; charset=utf-8"
}
