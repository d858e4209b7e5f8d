package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Net is a switch with hosts around it, each a network namespace of its own.
type Net struct {
	t      testing.TB
	prefix string
	next   int
}

// Host is one machine of a Net.
type Host struct {
	net  *Net
	Name string
	IP   string
	port string // the switch's end of the cable
}

var nets atomic.Int64 // that were made, so that each has a name of its own

// NewNet makes a switch that ends with the test. It lies in a network namespace
// of its own, so the machine's own network never sees it. It needs root.
func NewNet(t testing.TB) *Net {
	t.Helper()
	NeedRoot(t)
	Need(t, "ip")
	n := &Net{t: t, prefix: fmt.Sprintf("pt%d-%d-", os.Getpid(), nets.Add(1))}
	n.ip("netns", "add", n.hub())
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", n.hub()).Run() })
	n.ip("-n", n.hub(), "link", "add", "switch", "type", "bridge")
	n.ip("-n", n.hub(), "link", "set", "switch", "up")
	return n
}

func (n *Net) hub() string { return n.prefix + "hub" }

func (n *Net) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		if strings.Contains(string(out), "Operation not permitted") {
			missing(n.t, "may not make network namespaces here")
		}
		n.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// Host adds a machine to the switch.
func (n *Net) Host(name string) *Host {
	n.t.Helper()
	n.next++
	h := &Host{net: n, Name: n.prefix + name, IP: fmt.Sprintf("10.213.7.%d", n.next+1), port: fmt.Sprintf("port%d", n.next)}
	n.ip("netns", "add", h.Name)
	n.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", h.Name).Run() })
	n.ip("-n", n.hub(), "link", "add", h.port, "type", "veth", "peer", "name", "eth0", "netns", h.Name)
	n.ip("-n", n.hub(), "link", "set", h.port, "master", "switch", "up")
	n.ip("-n", h.Name, "link", "set", "lo", "up")
	n.ip("-n", h.Name, "link", "set", "eth0", "up")
	n.ip("-n", h.Name, "addr", "add", h.IP+"/24", "dev", "eth0")
	return h
}

// Command is what runs a program on the host.
func (h *Host) Command() []string { return []string{"ip", "netns", "exec", h.Name} }

// DialTo returns an http.Transport.DialContext that connects to addr from the host.
func (h *Host) DialTo(addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var conn net.Conn
		err := h.enter(func() (err error) {
			conn, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
			return err
		})
		return conn, err
	}
}

// enter runs f on a thread that is on the host's network. The thread ends with
// it, because a thread that could not go back must not be used again.
func (h *Host) enter(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		file, err := os.Open("/run/netns/" + h.Name)
		if err != nil {
			done <- err
			return
		}
		defer file.Close()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the network of %s: %w", h.Name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Cut takes the host off the network, as a pulled cable does.
func (h *Host) Cut() {
	h.net.t.Helper()
	h.net.ip("-n", h.net.hub(), "link", "set", h.port, "down")
}

// Mend plugs the cable in again.
func (h *Host) Mend() {
	h.net.t.Helper()
	h.net.ip("-n", h.net.hub(), "link", "set", h.port, "up")
}

// Listen opens a TCP port of the host.
func (h *Host) Listen(addr string) (l net.Listener, err error) {
	err = h.enter(func() error {
		l, err = net.Listen("tcp", addr)
		return err
	})
	return l, err
}

// Knows makes the host send to another without asking the network for its address: one whose cable is pulled then is silent, as a machine
// behind a router is, and not known to be gone.
func (h *Host) Knows(o *Host) {
	h.net.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", o.Name, "cat", "/sys/class/net/eth0/address").Output()
	if err != nil {
		h.net.t.Fatalf("the address of %s: %v", o.Name, err)
	}
	h.net.ip("-n", h.Name, "neigh", "replace", o.IP, "lladdr", strings.TrimSpace(string(out)), "dev", "eth0", "nud", "permanent")
}

// Knocks is the connections that a host has tried to make to another.
type Knocks struct {
	mu    sync.Mutex
	ports map[uint16]time.Time // of the host's, guarded by mu
}

// Since returns how many were tried first after a time.
func (k *Knocks) Since(t time.Time) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, at := range k.ports {
		if at.After(t) {
			n++
		}
	}
	return n
}

// Knocks counts the connections that the host tries to make to another, until the test ends. One that is tried again and again by the
// system is one.
func (h *Host) Knocks(to *Host) *Knocks {
	h.net.t.Helper()
	every := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8 // in the network's order
	fd := -1
	if err := h.enter(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(every))
		return err
	}); err != nil {
		h.net.t.Fatalf("listen to the network of %s: %v", h.Name, err)
	}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	k, end, done := &Knocks{ports: map[uint16]time.Time{}}, make(chan struct{}), make(chan struct{})
	h.net.t.Cleanup(func() {
		close(end)
		<-done
		_ = unix.Close(fd)
	})
	go func() {
		defer close(done)
		dst := net.ParseIP(to.IP).To4()
		for b := make([]byte, 2048); ; {
			n, _, _ := unix.Recvfrom(fd, b, 0)
			select {
			case <-end:
				return
			default:
			}
			if port, ok := knock(b[:max(n, 0)], dst); ok {
				k.mu.Lock()
				if k.ports[port].IsZero() {
					k.ports[port] = time.Now()
				}
				k.mu.Unlock()
			}
		}
	}()
	return k
}

// knock reports whether an IPv4 packet is the first of a connection to dst, and from which port.
func knock(b []byte, dst net.IP) (port uint16, ok bool) {
	if len(b) < 40 || b[0]>>4 != 4 || b[9] != unix.IPPROTO_TCP || !net.IP(b[16:20]).Equal(dst) {
		return 0, false
	}
	tcp := b[int(b[0]&15)*4:]
	const syn, ack = 2, 16
	if len(tcp) < 14 || tcp[13]&(syn|ack) != syn {
		return 0, false
	}
	return uint16(tcp[0])<<8 | uint16(tcp[1]), true
}
