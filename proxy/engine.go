package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"portico/proxy/conn"
	"portico/proxy/exchange"
	"portico/proxy/loop"
	"portico/proxy/wire"
)

// engine serves HTTP with portico's own protocol core: package loop or conn moves
// the bytes, this file and its neighbours decide.
type engine struct {
	s       *Server
	driver  exchange.Driver
	started atomic.Bool
}

// Slow clients: after the grace, a body must come at this rate on average.
const (
	rateGrace = 10 * time.Second
	minRate   = 64 // bytes a second
)

// newEngine makes the driver that the configuration names.
func (s *Server) newEngine() (*engine, error) {
	mk := conn.New
	switch s.o.Conf.Engine {
	case "loop":
		mk = loop.New
	case "conn":
	case "", "auto":
		if loop.Supported {
			mk = loop.New
		}
	}
	e := &engine{s: s}
	h := s.handler
	t, l := s.o.Conf.Timeouts, s.o.Conf.Limits
	o := exchange.Options{
		Config: exchange.Config{
			Handler: h, Limits: s.limits,
			Timeouts: wire.Timeouts{
				Header: t.Header.Std(), Idle: t.Idle.Std(), Connect: t.Connect.Std(), Body: t.Body.Std(), Write: t.Body.Std(),
				Response: t.Response.Std(), Tunnel: t.Tunnel.Std(), Grace: rateGrace, MinRate: minRate,
			},
		},
		Opened: e.opened, Closed: e.closed, Handshake: t.Header.Std(), Handshakes: l.Handshakes, Logger: s.log, MaxConns: l.Connections,
		NoRing: s.o.Conf.IOUring == "off",
	}
	for _, ln := range s.listeners {
		o.Listeners = append(o.Listeners, exchange.Listener{Listener: ln.Listener, TLS: ln.TLS, ProxyFrom: s.spoken})
		h.Fronts = append(h.Fronts, ln.Front)
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		h.Ports = append(h.Ports, port)
	}
	d, err := mk(o)
	if err != nil {
		return nil, fmt.Errorf("engine %q: %w", s.o.Conf.Engine, err)
	}
	e.driver = d
	return e, nil
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
	f := e.s.handler.Fronts[listener]
	f.Open(time.Now())
	if limit := e.s.o.Conf.Limits.PerAddress; limit > 0 && e.s.perAddr.Add(addr, 1) > limit {
		f.DeniedConns.Add(1)
		e.closed(listener, addr)
		return false
	}
	f.H1.Add(1)
	return true
}

func (e *engine) closed(listener int, addr netip.Addr) {
	e.s.handler.Fronts[listener].Conns.Add(-1)
	if e.s.o.Conf.Limits.PerAddress > 0 {
		e.s.perAddr.Add(addr, -1)
	}
}
