package exchange

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"time"
)

// Driver moves bytes for exchanges. Packages loop and conn provide one each; they behave alike byte for byte.
type Driver interface {
	// Serve accepts and serves until Shutdown or until ctx is done, and returns when nothing is left running. It closes the listeners.
	Serve(ctx context.Context) error
	// StopAccepting gives up the listeners, whose sockets another process may hold as well, and changes nothing for the connections
	// that are open, those included that were accepted and have not said anything yet. It is for a driver that serves;
	// Shutdown must follow some time.
	StopAccepting()
	// Shutdown stops accepting, lets running exchanges finish until ctx is done, then cuts them.
	Shutdown(ctx context.Context) error
	Stats() Stats
}

// Listener is a bound socket and how its connections begin.
type Listener struct {
	net.Listener
	TLS       *tls.Config    // nil: plain
	ProxyFrom []netip.Prefix // sources that must open connections with a PROXY protocol header, version 1 or 2
}

// Options for a driver. Zero values mean the defaults named.
type Options struct {
	Config
	Listeners []Listener
	// Opened is asked once for every client connection, when its address is known; false refuses it with 503. Closed follows for each
	// that was not refused, when it ends, also when it was handed over. Neither may block. Nil: every connection is welcome.
	Opened     func(listener int, addr netip.Addr) bool
	Closed     func(listener int, addr netip.Addr)
	Loops      int           // event loops, 0: one for each of GOMAXPROCS; loop only
	MaxConns   int           // client connections in all, 0: no limit but the descriptors; 503 beyond
	Handshakes int           // TLS handshakes with clients at once, 0: 1024 for each of GOMAXPROCS; connections beyond wait for their turn
	Handshake  time.Duration // for a TLS handshake, the wait before it included, or a PROXY header, 0: 10 s
	NoRing     bool          // do not use io_uring to hand reads and writes to the kernel together; loop only
	Logger     *slog.Logger  // nil: discard
}

// WithDefaults returns o with every zero value set.
func (o Options) WithDefaults() Options {
	o.Config = o.Config.WithDefaults()
	if o.Handshake <= 0 {
		o.Handshake = 10 * time.Second
	}
	if o.Handshakes <= 0 {
		o.Handshakes = 1024 * runtime.GOMAXPROCS(0)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Stats of a driver since it began.
type Stats struct {
	Accepted    uint64 // client connections
	Refused     uint64 // with 503, for MaxConns or for want of descriptors
	Short       uint64 // times that traffic got no descriptor: none was free, or only those that are kept for everything else
	Clients     int64  // open now
	HTTP2       uint64 // client connections that have negotiated HTTP/2
	Denied      uint64 // of those, ended because the client had used up a budget of frames or resets
	Upstreams   int64  // open now
	Handshakes  uint64 // TLS, with clients
	BadTLS      uint64 // of those, failed
	Shaking     int64  // TLS handshakes with clients, now
	Waiting     int64  // clients that wait for theirs, now
	Gathered    uint64 // sends that went through io_uring; loop only
	Latency     [LatencyBuckets]uint64
	SlowestTurn time.Duration
}

// LatencyBuckets of Stats.Latency: turns of a loop that took less than 1 µs << i; the last one holds all longer ones.
const LatencyBuckets = 20
