package proxy

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// outgoing is a request as it goes to an instance.
type outgoing struct {
	method, target, host string
	header               http.Header
	held                 []byte    // the whole body, when it is small
	body                 io.Reader // else the rest of it, nil: none
	length               int64     // of body, -1: chunked
	trailer              http.Header
	expect               bool   // the client waits for 100 Continue
	upgrade              string // protocol to switch to
	headBudget           time.Duration
	pause                time.Duration // longest pause of the instance while it takes a body
}

// appendRequest writes a request's head, and the body that is held with it.
func appendRequest(b []byte, r *outgoing) []byte {
	b = append(append(append(append(b, r.method...), ' '), r.target...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, r.host...), "\r\n"...)
	for name, values := range r.header {
		for _, v := range values {
			b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
		}
	}
	switch {
	case r.body != nil && r.length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		if len(r.trailer) > 0 {
			b = append(b, "Trailer: "...)
			sep := ""
			for name := range r.trailer {
				b = append(append(b, sep...), name...)
				sep = ", "
			}
			b = append(b, "\r\n"...)
		}
	case r.body != nil:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), r.length, 10), "\r\n"...)
	case len(r.held) > 0 || r.method == "POST" || r.method == "PUT" || r.method == "PATCH":
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), int64(len(r.held)), 10), "\r\n"...)
	}
	if r.expect && r.body != nil {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	if r.upgrade != "" {
		b = append(append(append(b, "Connection: Upgrade\r\nUpgrade: "...), r.upgrade...), "\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, r.held...)
}
