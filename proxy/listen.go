package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"portico/conf/sites"
	"portico/proxy/listen"
	"portico/proxy/route"
)

// Listen binds the addresses. It can fail; Serve then has nothing to run. Port 0
// takes a free port, see Addr.
func (s *Server) Listen() error {
	addrs := []struct {
		key, addr string
		front     *listen.Traffic
		tls       *tls.Config
	}{
		{"proxy.http", s.o.Conf.HTTP, &s.plain, nil},
		{"proxy.https", s.o.Conf.HTTPS, &s.secure, s.tls},
	}
	for _, a := range addrs {
		if a.addr == "" {
			continue
		}
		l, err := listen.Bind(s.o.Listen, a.key, a.addr, a.front, a.tls)
		if err != nil {
			for _, open := range s.listeners {
				_ = open.Close()
			}
			s.listeners = nil
			return err
		}
		s.listeners = append(s.listeners, l)
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
	s.front.HTTP, s.front.HTTPS = s.plain.Addr, s.secure.Addr
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

// Addr returns the bound address of "http" or "https", or nil.
func (s *Server) Addr(frontend string) net.Addr {
	if !s.bound.Load() {
		return nil
	}
	for _, l := range s.listeners {
		if l.Front.Name == frontend {
			return l.Addr()
		}
	}
	return nil
}
