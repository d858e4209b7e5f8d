package forward

import (
	"errors"

	"portico/proxy/exchange"
	"portico/proxy/fault"
)

var (
	errHTTP1Required = errors.New("credentials that belong to a connection came over HTTP/2: the client was told to use HTTP/1.1")
	errHTTP1Private  = errors.New("the site's connections are private (session.connection) and the request came over HTTP/2: the client was told to use HTTP/1.1")
)

// requireHTTP1 refuses what belongs to a connection: an HTTP/2 connection carries many requests at a time, and an instance's only one.
// HTTP_1_1_REQUIRED makes clients ask again over HTTP/1.1 (RFC 9113, 7), where the connection is theirs alone.
func (f *flight) requireHTTP1(d *exchange.Decision) {
	why := errHTTP1Required
	if f.site.Private {
		why = errHTTP1Private
	}
	f.fault = &fault.Fault{Status: 421, Cause: 'P', Phase: 'R', Err: why}
	f.rec.Error = why.Error()
	f.front.Own.Add(1)
	f.front.Denied.Add(1)
	d.Private = true // which no stream of a connection can be
}
