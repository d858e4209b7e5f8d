package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"portico/proxy/conn"
	"portico/proxy/http1"
	"portico/proxy/loop"
)

// engine serves HTTP/1 with portico's own protocol core instead of net/http:
// package loop or conn moves the bytes, this file and its neighbours decide.
// Connections that speak HTTP/2, and requests that net/http handlers answer, are
// handed over to net/http.
type engine struct {
	s       *Server
	driver  http1.Driver
	fronts  []*frontend // by listener
	ports   []string
	started atomic.Bool
}

// newEngine makes the driver that the configuration names; nil for net/http.
func (s *Server) newEngine() (*engine, error) {
	mk := conn.New
	switch s.o.Conf.Engine {
	case "", "std":
		return nil, nil
	case "loop":
		mk = loop.New
	case "conn":
	case "auto":
		if loop.Supported {
			mk = loop.New
		}
	}
	e := &engine{s: s}
	t, l := s.o.Conf.Timeouts, s.o.Conf.Limits
	o := http1.Options{
		Config: http1.Config{
			Handler: e, Limits: s.limits,
			Timeouts: http1.Timeouts{
				Header: t.Header.Std(), Idle: t.Idle.Std(), Connect: t.Connect.Std(), Body: t.Body.Std(), Write: t.Body.Std(),
				Response: t.Response.Std(), Tunnel: t.Tunnel.Std(), Grace: rateGrace, MinRate: minRate,
			},
		},
		Handover: e.handover, Opened: e.opened, Closed: e.closed, Handshake: t.Header.Std(), Handshakes: l.Handshakes, Logger: s.log, MaxConns: l.Connections,
		NoRing: s.o.Conf.IOUring == "off",
	}
	for _, ln := range s.listeners {
		o.Listeners = append(o.Listeners, http1.Listener{Listener: ln.Listener, TLS: ln.tls, ProxyFrom: s.spoken})
		e.fronts = append(e.fronts, ln.front)
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		e.ports = append(e.ports, port)
	}
	d, err := mk(o)
	if err != nil {
		return nil, fmt.Errorf("engine %q: %w", s.o.Conf.Engine, err)
	}
	e.driver = d
	return e, nil
}

// serve runs the driver until shutdown.
func (e *engine) serve() {
	if err := e.driver.Serve(context.Background()); err != nil {
		e.s.log.Error("serve", "engine", e.s.o.Conf.Engine, "error", err)
	}
}

// shutdown drains the driver, or cuts it when ctx ends.
func (e *engine) shutdown(ctx context.Context) error {
	if !e.started.Load() {
		return nil
	}
	return e.driver.Shutdown(ctx)
}

// opened counts a connection and holds the limit for each address.
func (e *engine) opened(listener int, addr netip.Addr) bool {
	f := e.fronts[listener]
	f.open(time.Now())
	if limit := e.s.o.Conf.Limits.PerAddress; limit > 0 && e.s.perAddr.add(addr, 1) > limit {
		f.deniedConns.Add(1)
		e.closed(listener, addr)
		return false
	}
	f.h1.Add(1)
	return true
}

func (e *engine) closed(listener int, addr netip.Addr) {
	e.fronts[listener].conns.Add(-1)
	if e.s.o.Conf.Limits.PerAddress > 0 {
		e.s.perAddr.add(addr, -1)
	}
}

// handover gives a connection to net/http: with its frames counted when it speaks
// HTTP/2, else behind the guard.
func (e *engine) handover(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol == "h2" {
		e.s.secure.h1.Add(^uint64(0))
		e.s.secure.h2.Add(1)
		e.s.ready.put(newFrames(t, &e.s.secure))
		return
	}
	e.s.ready.put(newGuard(c, &e.s.limits, e.s.o.Conf.Timeouts.Header.Std()))
}

// way returns how the engine reaches an instance; it changes with the origin.
func (o *origin) way() *http1.Upstream {
	if u := o.engine.Load(); u != nil {
		return u
	}
	u := &http1.Upstream{Addr: o.addr, TLS: o.tls, MaxIdle: o.maxIdle, IdleFor: o.idleTime}
	if o.engine.CompareAndSwap(nil, u) {
		o.mu.Lock()
		if o.closed {
			u.Retire()
		}
		o.mu.Unlock()
		return u
	}
	return o.engine.Load()
}

func appendInt(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }
