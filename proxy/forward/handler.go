// Package forward is the way of one request: who sent it, which instance gets it, what is sent there
// and answered, what is accounted for in the end. It knows neither what the client speaks nor who
// moves the bytes: an exchange asks it.
package forward

import (
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"portico/balancer"
	"portico/proxy/accesslog"
	"portico/proxy/clock"
	"portico/proxy/listen"
	"portico/proxy/origin"
	"portico/proxy/probe"
	"portico/proxy/recent"
	"portico/proxy/route"
	"portico/proxy/site"
)

// Handler decides about requests, see [exchange.Handler]. What is set does not change once a request has come.
type Handler struct {
	Table     *atomic.Pointer[site.Table]
	Front     *route.Front
	Balancer  *balancer.Balancer
	Origins   *origin.Set
	Probes    *probe.Prober
	Clock     *clock.Watch
	Recent    *recent.Exchanges
	AccessLog *accesslog.Log // nil: none
	Log       *slog.Logger

	Retries int
	Tunnel  time.Duration     // how long a stream of events may be silent
	Trusted []netip.Prefix    // whose word about the visitor counts
	Fronts  []*listen.Traffic // counters by listener
	Ports   []string          // by listener

	// Challenge answers /.well-known/acme-challenge/ on plain HTTP. Nil: such paths go to the sites.
	Challenge http.Handler

	// Moved is told of each session that was lost where it was and is on another
	// instance from now on. It must not wait. Nil: nobody wants to know.
	Moved func(session uint64, instance string)

	LameDuck  atomic.Bool  // every answer is the last one of its connection
	Tunnels   atomic.Int64 // upgraded connections
	Panics    atomic.Uint64
	LongLived longLived

	proofs sync.WaitGroup // answers to challenges under way
}

// Wait waits for what goes on beside requests. None may come any more.
func (h *Handler) Wait() { h.proofs.Wait() }
