package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"portico/certs"
	"portico/conf"
	"portico/deployhook/agent"
	"portico/deployhook/agent/portowner"
	"portico/internal/exitcode"
	"portico/membership/catalog"
)

// What a start refuses is looked for here, before anything is begun, and portico check calls the same
// functions: what the one refuses the other does.

// preflight looks at everything on this machine that a member of the role needs, but for its addresses.
func preflight(c conf.Config, role catalog.Role) error {
	if err := checkFiles(c, role); err != nil {
		return err
	}
	return checkState(c, role)
}

// checkState looks whether the state folder can be used, without making or changing anything.
func checkState(c conf.Config, role catalog.Role) error {
	info, err := os.Stat(c.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkParent(c.Dir)
	case err != nil:
		return fmt.Errorf("state folder: %w: give another with --dir", err)
	case !info.IsDir():
		return fmt.Errorf("state folder: %s is a file: give another with --dir", c.Dir)
	}
	if err := mayWrite(c.Dir); err != nil {
		return fmt.Errorf("state folder %s: %s: run portico as its owner, or give another with --dir", c.Dir, closedTo(c.Dir, err))
	}
	for _, part := range []string{"identity", "agent", "catalog"} {
		if err := checkPart(filepath.Join(c.Dir, part)); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "identity", "key.pem")); err != nil {
		return nil // it was no member's folder yet
	}
	id, err := certs.LoadIdentity(filepath.Join(c.Dir, "identity"))
	if err != nil {
		return err
	}
	name := ""
	if role == catalog.RoleServer {
		name = c.Agent.Name
		if err := agent.CheckState(c.Dir); err != nil {
			return err
		}
	}
	if _, err := ownName(id, role, name, c.Dir); err != nil {
		return exitcode.Misuse(err)
	}
	return nil
}

// checkParent looks whether a folder that is missing can be made.
func checkParent(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	for up := filepath.Dir(abs); ; up = filepath.Dir(up) {
		info, err := os.Stat(up)
		switch {
		case errors.Is(err, fs.ErrNotExist) && up != filepath.Dir(up):
			continue
		case err == nil && !info.IsDir():
			return fmt.Errorf("make the state folder %s: %s is a file: give another with --dir", dir, up)
		case err == nil:
			if err = mayWrite(up); err == nil {
				return nil
			}
			return fmt.Errorf("make the state folder %s: %s: give another with --dir, or make it and give it to the account that portico runs as", dir, closedTo(up, err))
		}
		return fmt.Errorf("make the state folder: %w: give another with --dir", err)
	}
}

// checkPart looks whether a folder of the state folder, if it is there, can be used, and the files in it can be read.
func checkPart(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = mayWrite(dir)
	}
	if err != nil {
		return fmt.Errorf("state folder: %s: run portico as its owner, or chown -R the state folder", closedTo(dir, err))
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // of a moment
		}
		if err != nil {
			return fmt.Errorf("state folder: %s: run portico as its owner, or chown -R the state folder", closedTo(path, err))
		}
		_ = f.Close()
	}
	return nil
}

// closedTo says whose a path is, with which mode, and who was not let in.
func closedTo(path string, err error) string {
	info, statErr := os.Stat(path)
	if statErr != nil || !errors.Is(err, fs.ErrPermission) {
		return fmt.Sprintf("%s: %v", path, bare(err))
	}
	return fmt.Sprintf("%s %shas mode %04o, and is closed to %s", path, ownerOf(info), info.Mode().Perm(), accountName(os.Geteuid()))
}

// bare is an error without the path, which is said before.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func accountName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return "user " + u.Username
	}
	return fmt.Sprintf("user id %d", uid)
}

// address is one that a member listens at.
type address struct {
	flag, setting, value string
	udp                  bool // as well
}

// addresses are those that a start of the role binds. The catalog's waits until there is a second proxy.
func addresses(c conf.Config, role catalog.Role) []address {
	gossip := address{"--gossip", "gossip.address", c.Gossip.Address, true}
	if role == catalog.RoleServer {
		return []address{{"--listen", "agent.address", c.Agent.Address, false}, gossip}
	}
	list := []address{
		{"--http", "proxy.http", c.Proxy.HTTP, false}, {"--https", "proxy.https", c.Proxy.HTTPS, false},
		{"--admin", "admin.address", c.Admin.Address, false}, gossip,
	}
	if len(c.Proxy.Join) > 0 {
		list = append(list, address{"--catalog", "catalog.address", c.Catalog.Address, false})
	}
	return list
}

// tryAddresses binds each address and lets it go again. What a process on the folder dir holds is no fault.
func tryAddresses(list []address, dir string) error {
	var errs []error
	for _, a := range list {
		if a.value == "" {
			continue
		}
		if err := a.try(); err != nil && !heldFor(a.value, dir) {
			errs = append(errs, a.explain(err))
		}
	}
	return errors.Join(errs...)
}

func (a address) try() error {
	l, err := net.Listen("tcp", a.value)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	if !a.udp {
		return nil
	}
	u, err := net.ListenPacket("udp", a.value)
	if err != nil {
		return err
	}
	return u.Close()
}

// explain names the flag, the address, who has it where that is to be seen, and what to do.
func (a address) explain(err error) error {
	other := fmt.Sprintf("choose another address with %s (%s)", a.flag, a.setting)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s %s: another program has this port%s: stop it, or %s (%w)", a.flag, a.value, holderText(a.value), other, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s %s: not permitted: ports below 1024 need CAP_NET_BIND_SERVICE (or root), or %s (%w)", a.flag, a.value, other, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s %s: this machine does not have that address: %s (%w)", a.flag, a.value, other, err)
	}
	return fmt.Errorf("%s %s: %s: %w", a.flag, a.value, other, err)
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
