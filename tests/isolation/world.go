package isolation

import (
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"portico/tests/support/selfsigned"
)

// World is origins, and who owns which byte.
type World struct {
	t      testing.TB
	sites  []*Site
	server *tls.Config
	client *tls.Config

	exchanges sync.Map // by request mark
	counts    sync.Map // by word: *atomic.Int64
	faults    atomic.Int64
	fairs     atomic.Int64 // exchanges in which nobody misbehaves
	lates     atomic.Int64 // of those, what took as long as a timeout
	slow      sync.Map     // by seed: *exchange, the one that was late
	pause     pauses
	aborts    atomic.Int64 // what abortedForMemory has said last
}

// Site is where requests can go.
type Site struct {
	Name      string
	Host      string
	Secure    bool // its origins speak TLS
	Kind      bool // its origins behave
	Upstreams []string

	small   bool // its origins take little at a time
	origins []*origin
}

// Front is the proxy in front of a world.
type Front struct {
	Plain  string // address of the plain listener
	Secure string // address of the TLS listener; "": none
	Two    bool   // which speaks HTTP/2, too
}

// NewWorld starts origins that end with the test.
func NewWorld(t testing.TB) *World {
	t.Helper()
	w := &World{t: t}
	w.certify()
	for i, name := range []string{"kind", "kind-tls", "rough", "other", "rough-tls"} {
		s := &Site{Name: name, Host: name + ".test", Secure: i == 1 || i == 4, Kind: i < 2, small: i%2 == 0}
		for range 1 + i/2 {
			o := w.newOrigin(s)
			s.origins = append(s.origins, o)
			s.Upstreams = append(s.Upstreams, o.ln.Addr().String())
		}
		w.sites = append(w.sites, s)
	}
	t.Cleanup(func() {
		for _, s := range w.sites {
			for _, o := range s.origins {
				o.close()
			}
		}
	})
	return w
}

// Sites returns what the proxy is to serve.
func (w *World) Sites() []*Site { return w.sites }

// ServerTLS is what the proxy shows to clients.
func (w *World) ServerTLS() *tls.Config { return w.server.Clone() }

// OriginTLS is how the proxy calls a secure site's origin.
func (w *World) OriginTLS() *tls.Config { return w.client.Clone() }

func (w *World) certify() {
	cert := selfsigned.New(w.t, "*.test", "*.instance", "isolation")
	w.server = &tls.Config{DynamicRecordSizingDisabled: true, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	w.client = &tls.Config{RootCAs: selfsigned.Trust(cert), ServerName: "isolation", MinVersion: tls.VersionTLS12}
}

// meet makes a scene's exchanges known before anything of them is on a wire.
func (w *World) meet(sc *scene) {
	for _, c := range sc.clients {
		for _, x := range c.exchanges {
			w.exchanges.Store(x.request, &known{exchange: x, client: c})
		}
	}
}

type known struct {
	*exchange
	client *client
	tried  atomic.Int32
}

func (w *World) find(m mark) *exchange {
	if v, ok := w.exchanges.Load(m); ok {
		return v.(*known).exchange
	}
	return nil
}

// attempt counts how often an exchange's request has come to an origin, and returns what the origin does about it.
func (w *World) attempt(x *exchange) *try {
	v, _ := w.exchanges.Load(x.request)
	n := int(v.(*known).tried.Add(1))
	if n > 1 && x.method == "POST" {
		w.fault(x, "a %s came to the origins %d times", x.method, n)
	}
	if n > 1 {
		w.count("sent again")
	}
	return &x.tries[min(n, len(x.tries))-1]
}

func (w *World) count(what string) {
	v, _ := w.counts.LoadOrStore(what, new(atomic.Int64))
	v.(*atomic.Int64).Add(1)
}

// mostFaults is how many are told. Behind the first ones they say nothing new.
const mostFaults = 12

// fault reports what must not happen.
func (w *World) fault(x *exchange, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if w.faults.Add(1) > mostFaults {
		return
	}
	if x == nil {
		w.t.Errorf("%s", text)
		return
	}
	v, _ := w.exchanges.Load(x.request)
	seed := seedOf(x)
	w.t.Errorf("seed %d: %s\n\t%s\n\talone: PORTICO_ISOLATION=%d-%d go test -run '%s'; with those before it: PORTICO_ISOLATION=%d-%d",
		seed, text, x.describe(v.(*known).client), seed, seed, w.t.Name(), max(1, seed-400), seed)
}

func seedOf(x *exchange) int { return int(x.request >> 6) }
