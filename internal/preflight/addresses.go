package preflight

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"portico/deployhook/agent/portowner"
)

// Address is one that a member listens at.
type Address struct {
	Flag, Setting, Value string
	UDP                  bool // as well
}

// TryAddresses binds each address and lets it go again. What a process on the folder dir holds is no fault.
func TryAddresses(list []Address, dir string) error {
	var errs []error
	for _, a := range list {
		if a.Value == "" {
			continue
		}
		if err := a.try(); err != nil && !heldFor(a.Value, dir) {
			errs = append(errs, a.explain(err))
		}
	}
	return errors.Join(errs...)
}

func (a Address) try() error {
	l, err := net.Listen("tcp", a.Value)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	if !a.UDP {
		return nil
	}
	u, err := net.ListenPacket("udp", a.Value)
	if err != nil {
		return err
	}
	return u.Close()
}

// explain names the flag, the address, who has it where that is to be seen, and what to do.
func (a Address) explain(err error) error {
	other := fmt.Sprintf("choose another address with %s (%s)", a.Flag, a.Setting)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s %s: another program has this port%s: stop it, or %s (%w)", a.Flag, a.Value, holderText(a.Value), other, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s %s: not permitted: ports below 1024 need CAP_NET_BIND_SERVICE (or root), or %s (%w)", a.Flag, a.Value, other, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s %s: this machine does not have that address: %s (%w)", a.Flag, a.Value, other, err)
	}
	return fmt.Errorf("%s %s: %s: %w", a.Flag, a.Value, other, err)
}

// holderText is who has a TCP port of this machine, "" where nobody tells.
func holderText(addr string) string {
	h, ok := holderOf(addr)
	switch {
	case !ok:
		return ""
	case len(h.PIDs) == 0:
		return ", a process of " + accountName(h.UID)
	}
	name := ""
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", h.PIDs[0])); err == nil {
		name = strings.TrimSpace(string(text)) + ", "
	}
	return fmt.Sprintf(", %spid %d of %s", name, h.PIDs[0], accountName(h.UID))
}

func holderOf(addr string) (portowner.Holder, bool) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return portowner.Holder{}, false
	}
	hosts := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	if ip, ok := netip.AddrFromSlice(tcp.IP); ok && !ip.IsUnspecified() {
		hosts = []netip.Addr{ip.Unmap()}
	}
	for _, host := range hosts {
		if h, err := portowner.Listener(netip.AddrPortFrom(host, uint16(tcp.Port))); err == nil {
			return h, true
		}
	}
	return portowner.Holder{}, false
}

// heldFor reports whether a process that has files of the state folder open has the address: the member itself.
func heldFor(addr, dir string) bool {
	abs, err := filepath.Abs(dir)
	h, ok := holderOf(addr)
	if err != nil || !ok {
		return false
	}
	for _, pid := range h.PIDs {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, abs+string(filepath.Separator)) {
				return true
			}
		}
	}
	return false
}
