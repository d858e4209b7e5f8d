package proxy

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

// A fault is why portico answers a request itself: the status, the sentence for
// the visitor, and the two letters that HAProxy's log format has for it. Every
// error of the data path becomes a fault in this file and nowhere else.
type fault struct {
	status int
	cause  byte          // first letter of the termination state: who ended it
	phase  byte          // second letter: what was going on
	text   string        // for the visitor; says nothing about the inside
	retry  time.Duration // Retry-After, zero: none
	err    error         // for the log only
	closed bool          // the client's connection cannot be used any more
	kept   bool          // the visitor's session is kept, and cannot be reached
	renews bool          // with kept: the page renews itself
	silent bool          // nothing is answered: the connection is closed, or the stream reset

	place  *balancer.Place // in the waiting room; nil: it is about something else
	page   string          // whole, instead of the usual one; "": the usual one
	cookie string          // Set-Cookie field for the visitor; "": none
}

func (f *fault) Error() string {
	if f.err != nil {
		return fmt.Sprintf("%d: %v", f.status, f.err)
	}
	return fmt.Sprintf("%d: %s", f.status, f.text)
}

func (f *fault) Unwrap() error { return f.err }

// statusClientClosed is nginx's number for a client that went away before it
// had its answer. It is logged and never sent.
const statusClientClosed = 499

var (
	errClientGone = errors.New("client closed the connection")
	errSlowClient = errors.New("client sends slower than the minimum rate")
	errBodyTooBig = errors.New("request body is larger than the site allows")
	errNoUpstream = errors.New("no instance can take the request")
	errQueueFull  = errors.New("no instance became free in time")
	errSeats      = errors.New("all instances have as many sessions as session.max allows")
	errSlowOrigin = errors.New("instance did not answer in time")
)

func faultFor(err error) *fault {
	var f *fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, errClientGone), errors.Is(err, context.Canceled):
		return &fault{status: statusClientClosed, cause: 'C', phase: 'H', text: "The client went away.", err: err, closed: true, silent: true}
	case errors.Is(err, errBodyTooBig):
		return &fault{status: 413, cause: 'P', phase: 'R', text: "The request is larger than this site accepts.", err: err, closed: true}
	case errors.Is(err, errSlowClient):
		return &fault{status: 408, cause: 'c', phase: 'D', text: "The request took too long to arrive.", err: err, closed: true}
	case errors.Is(err, errNoUpstream):
		return &fault{status: 503, cause: 'S', phase: 'C', text: "The site is not available at the moment. Please try again shortly.", retry: 2 * time.Second, err: err}
	case errors.Is(err, errQueueFull):
		return &fault{status: 503, cause: 's', phase: 'Q', text: "The site is busy at the moment. Please try again shortly.", retry: 5 * time.Second, err: err}
	case errors.Is(err, errSlowOrigin):
		return &fault{status: 504, cause: 's', phase: 'H', text: "The site took too long to answer.", err: err}
	case errors.Is(err, origin.ErrDial):
		return &fault{status: 503, cause: 'S', phase: 'C', text: "The site is not available at the moment. Please try again shortly.", retry: 2 * time.Second, err: err}
	}
	return &fault{status: 502, cause: 'S', phase: 'H', text: "The site gave no valid answer.", err: err}
}

// refusal is a fault for a request that is wrong in itself.
func refusal(status int, text string) *fault {
	return &fault{status: status, cause: 'P', phase: 'R', text: text}
}

var (
	faultBadRequest    = refusal(400, "The request is not valid HTTP.")
	faultUnknownHost   = refusal(404, "There is no such site here.")
	faultMisdirected   = refusal(421, "This connection is not for that site.")
	faultRateLimited   = &fault{status: 429, cause: 'P', phase: 'R', text: "Too many requests. Please slow down.", retry: time.Second}
	faultInternal      = &fault{status: 500, cause: 'I', phase: 'H', text: "Something went wrong in the proxy."}
	faultHeaderTimeout = &fault{status: 408, cause: 'c', phase: 'R', text: "The request took too long to arrive.", closed: true}
)

// errorPage returns the body and its type for a fault: JSON for who asks for
// it and not for HTML, a small page for everybody else. Neither holds anything
// that came with the request.
func errorPage(f *fault, accept string) (body []byte, contentType string) {
	if f.page != "" {
		return []byte(f.page), "text/html; charset=utf-8"
	}
	if f.place != nil {
		return roomAnswer(f, accept)
	}
	if f.kept {
		return awayAnswer(f, accept)
	}
	title := http1.Reason(f.status)
	if strings.Contains(accept, "json") && !strings.Contains(accept, "text/html") {
		return fmt.Appendf(nil, `{"error":{"code":%s,"message":%s}}`+"\n",
			strconv.Quote(strings.ReplaceAll(strings.ToLower(title), " ", "_")), strconv.Quote(f.text)), "application/json"
	}
	return fmt.Appendf(nil, `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>%d %s</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem;color:#222}h1{font-size:1.4rem}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}</style></head>
<body><h1>%d %s</h1><p>%s</p></body></html>
`, f.status, title, f.status, title, html.EscapeString(f.text)), "text/html; charset=utf-8"
}
