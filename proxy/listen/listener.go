// Package listen is where visitors come in: bound addresses, what their TLS offers, how much came
// through them.
package listen

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
)

// Listener is one bound address.
type Listener struct {
	net.Listener
	Front *Traffic
	TLS   *tls.Config // nil: plain
}

// Bind listens on the address of a setting, for a front. tls is nil for a plain one.
func Bind(listen func(name, address string) (net.Listener, error), key, addr string, f *Traffic, tls *tls.Config) (*Listener, error) {
	l, err := listen(f.Name, addr)
	if err != nil {
		return nil, listenError(key, addr, err)
	}
	f.Addr = l.Addr().String()
	return &Listener{Listener: l, Front: f, TLS: tls}, nil
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
