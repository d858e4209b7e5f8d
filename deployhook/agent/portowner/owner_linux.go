package portowner

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// States of a TCP socket, as the kernel numbers them (net/tcp_states.h).
const (
	stateEstablished = 1
	stateSynReceived = 3
	stateListen      = 10
)

// Peer returns the user id of the process at the other end of a connection whose
// both ends are on this machine: of the one that accepted it, or, while nobody
// has, of the one that made the listener in whose queue it waits. ErrGone: the
// other end is closed already.
func Peer(c *net.TCPConn) (uid int, err error) {
	local, err := addrPort(c.LocalAddr())
	if err != nil {
		return 0, err
	}
	remote, err := addrPort(c.RemoteAddr())
	if err != nil {
		return 0, err
	}
	d, err := openDiag()
	if err != nil {
		return 0, err
	}
	defer d.close()
	return d.peer(remote, local)
}

// peer asks about the socket that is at remote and connected to local.
//
// A socket that nobody has accepted yet has no inode, and kernels before 6.17
// call its user 0. Then the listener decides, and the socket is asked about
// again: closing a listener resets whatever waits in its queue, so a socket that
// still waits belongs to a listener that was open the whole time, and a port has
// one listener, or several of one user (SO_REUSEPORT).
func (d diag) peer(remote, local netip.AddrPort) (int, error) {
	s, err := d.pair(remote, local)
	if err != nil {
		return 0, err
	}
	if s.inode != 0 {
		return s.uid, nil
	}
	l, err := d.listener(remote)
	if err != nil {
		return 0, err
	}
	if s, err = d.pair(remote, local); err != nil {
		return 0, err
	}
	switch {
	case s.inode != 0: // accepted in between
		return s.uid, nil
	case s.state == stateEstablished, s.state == stateSynReceived:
		return l.uid, nil
	}
	return 0, ErrGone // closed, and nobody has it open any more
}

// pair asks about the socket at src that is connected to dst. Where there is none
// the kernel tells of whoever listens at src by now.
func (d diag) pair(src, dst netip.AddrPort) (socket, error) {
	s, err := d.find(src, dst)
	if err == nil && s.state == stateListen {
		err = ErrGone
	}
	return s, err
}

// listener asks about the socket that a connection to addr would reach.
func (d diag) listener(addr netip.AddrPort) (socket, error) {
	s, err := d.find(addr, netip.AddrPortFrom(anyOf(addr.Addr()), 0))
	if err == nil && s.state != stateListen {
		err = ErrGone
	}
	return s, err
}

func anyOf(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// Listener returns who holds the socket that a connection to addr would reach.
// ErrGone: nobody listens there.
func Listener(addr netip.AddrPort) (Holder, error) {
	d, err := openDiag()
	if err != nil {
		return Holder{}, err
	}
	defer d.close()
	s, err := d.listener(addr)
	if err != nil {
		return Holder{}, err
	}
	return Holder{UID: s.uid, PIDs: processesWith(s.inode)}, nil
}

func processesWith(inode uint32) []int {
	want := "socket:[" + strconv.FormatUint(uint64(inode), 10) + "]"
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	var pids []int
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == want {
			if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Check makes a connection to this very process and asks about it. Its error
// says why the answers of this system are of no use.
func Check() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("ask who holds a port: %w", err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return fmt.Errorf("ask who holds a port: %w", err)
	}
	defer c.Close()
	uid, err := Peer(c.(*net.TCPConn))
	if err != nil {
		return err
	}
	if want := os.Geteuid(); uid != want {
		return fmt.Errorf("%w: it calls a port of user %d one of user %d", ErrUnsupported, want, uid)
	}
	return nil
}

func addrPort(a net.Addr) (netip.AddrPort, error) {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("ask who holds a port: %v is no TCP address", a)
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}
