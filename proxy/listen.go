package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"

	"portico/conf/sites"
	"portico/proxy/route"
)

// listener is one bound address.
type listener struct {
	net.Listener
	front *frontend
	tls   *tls.Config // nil: plain
}

// Listen binds the addresses. It can fail; Serve then has nothing to run. Port 0
// takes a free port, see Addr.
func (s *Server) Listen() error {
	addrs := []struct {
		key, addr string
		front     *frontend
		tls       *tls.Config
	}{
		{"proxy.http", s.o.Conf.HTTP, &s.plain, nil},
		{"proxy.https", s.o.Conf.HTTPS, &s.secure, s.tls},
	}
	for _, a := range addrs {
		if a.addr == "" {
			continue
		}
		l, err := s.o.Listen(a.front.name, a.addr)
		if err != nil {
			for _, open := range s.listeners {
				_ = open.Close()
			}
			s.listeners = nil
			return listenError(a.key, a.addr, err)
		}
		a.front.addr = l.Addr().String()
		s.listeners = append(s.listeners, &listener{Listener: l, front: a.front, tls: a.tls})
	}
	if len(s.listeners) == 0 {
		return errors.New("listen: neither proxy.http nor proxy.https is set")
	}
	var err error
	if s.engine, err = s.newEngine(); err != nil {
		for _, open := range s.listeners {
			_ = open.Close()
		}
		s.listeners = nil
		return fmt.Errorf("listen: %w", err)
	}
	s.front.Plain, s.front.Secure = s.plain.addr, s.secure.addr
	s.bound.Store(true)
	return nil
}

// URLs are where a site with these settings, defaults filled in, answers at this proxy now, see [route.Front.URLs].
func (s *Server) URLs(set sites.Settings, here string) []string {
	if !s.bound.Load() {
		return nil
	}
	return s.front.URLs(&route.Rule{TLSMode: set.TLS.Mode, Redirect: set.TLS.Redirect}, set.Hosts, set.Path, here)
}

// listenError names the address and what to do about it.
func listenError(key, addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: another program has this port: stop it, or choose another address with %s (%w)", addr, flagOf(key), err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("listen on %s: not permitted: ports below 1024 need CAP_NET_BIND_SERVICE (or root), or choose a higher port with %s (%w)", addr, flagOf(key), err)
	}
	return fmt.Errorf("listen on %s: check %s: %w", addr, flagOf(key), err)
}

// flagOf names the flag beside the setting that it sets: --http (proxy.http).
func flagOf(key string) string {
	_, name, _ := strings.Cut(key, ".")
	return fmt.Sprintf("--%s (%s)", name, key)
}

// Addr returns the bound address of "http" or "https", or nil.
func (s *Server) Addr(frontend string) net.Addr {
	if !s.bound.Load() {
		return nil
	}
	for _, l := range s.listeners {
		if l.front.name == frontend {
			return l.Addr()
		}
	}
	return nil
}

// addrCount counts connections for each client address.
type addrCount struct {
	mu sync.Mutex
	m  map[netip.Addr]int
}

func (a *addrCount) add(addr netip.Addr, n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m == nil {
		a.m = map[netip.Addr]int{}
	}
	a.m[addr] += n
	left := a.m[addr]
	if left <= 0 {
		delete(a.m, addr)
	}
	return left
}
