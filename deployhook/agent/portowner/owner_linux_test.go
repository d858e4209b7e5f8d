package portowner_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"portico/deployhook/agent/portowner"
)

// Users that need no account: the kernel knows numbers only.
const alice, bob = 61001, 61002

func TestMain(m *testing.M) {
	if what := os.Getenv("PORTOWNER_TEST"); what != "" {
		if err := play(what); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// play is the process of another user: it listens, says so, and goes on as the
// words of what say until its standard input ends.
func play(what string) error {
	f := strings.Fields(what) // address, then options
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		_ = c.Control(func(fd uintptr) {
			for _, o := range f[1:] {
				switch o {
				case "reuseport":
					err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
				case "defer":
					err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 30)
				case "v6only":
					err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
				}
			}
		})
		return err
	}}
	l, err := config.Listen(context.Background(), "tcp", f[0])
	if err != nil {
		return err
	}
	fmt.Println("listening", l.Addr())
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil
		}
		switch strings.TrimSpace(line) {
		case "accept":
			c, err := l.Accept()
			if err != nil {
				return err
			}
			defer c.Close()
		case "close":
			_ = l.Close()
		}
		fmt.Println("done")
	}
}

// other is a process of another user.
type other struct {
	t    *testing.T
	in   io.WriteCloser
	out  *bufio.Reader
	addr netip.AddrPort
	err  string // why it does not listen
}

func listenAs(t *testing.T, uid int, what string) *other {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may start a process as another user: run the tests as root, as in a container, to see this one")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The path may lie where that user may not go.
	self, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Env = []string{"PORTOWNER_TEST=" + what}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	cmd.Stderr = os.Stderr
	o := &other{t: t}
	if o.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = o.in.Close()
		_ = cmd.Wait()
	})
	o.out = bufio.NewReader(out)
	kind, rest, _ := strings.Cut(o.read(), " ")
	if kind != "listening" {
		o.err = rest
		return o
	}
	o.addr = netip.MustParseAddrPort(rest)
	return o
}

func (o *other) read() string {
	o.t.Helper()
	line, err := o.out.ReadString('\n')
	if err != nil {
		o.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func (o *other) do(what string) {
	o.t.Helper()
	if _, err := fmt.Fprintln(o.in, what); err != nil {
		o.t.Fatal(err)
	}
	if got := o.read(); got != "done" {
		o.t.Fatalf("%s: %s", what, got)
	}
}

func (o *other) at(host string) string {
	return net.JoinHostPort(host, strconv.Itoa(int(o.addr.Port())))
}

func peerAt(t *testing.T, addr string, before func()) int {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if before != nil {
		before()
	}
	uid, err := portowner.Peer(c.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

// TestPeer: the user at the other end is told for every address that a program
// may listen on, whether or not the connection was accepted.
func TestPeer(t *testing.T) {
	for _, tt := range []struct{ listen, dial string }{
		{"127.0.0.1:0", "127.0.0.1"},
		{"0.0.0.0:0", "127.0.0.1"},
		{"[::]:0", "127.0.0.1"},
		{"[::]:0", "::1"},
		{"[::1]:0", "::1"},
		{"127.0.0.1:0 defer", "127.0.0.1"},
	} {
		t.Run(tt.listen+" "+tt.dial, func(t *testing.T) {
			o := listenAs(t, alice, tt.listen)
			if uid := peerAt(t, o.at(tt.dial), nil); uid != alice {
				t.Errorf("waiting in the queue: user %d, want %d", uid, alice)
			}
			h, err := portowner.Listener(netip.MustParseAddrPort(o.at(tt.dial)))
			if err != nil || h.UID != alice {
				t.Errorf("the listener: %+v, %v", h, err)
			}
			if strings.HasSuffix(tt.listen, "defer") {
				return // it would wait for bytes
			}
			o.do("accept") // the closed one
			if uid := peerAt(t, o.at(tt.dial), func() { o.do("accept") }); uid != alice {
				t.Errorf("accepted: user %d, want %d", uid, alice)
			}
		})
	}
}

// TestPeerAfterClose: a connection that a listener took with it when it closed
// is nobody's, also when somebody else listens there by now.
func TestPeerAfterClose(t *testing.T) {
	first := listenAs(t, bob, "127.0.0.1:0")
	c, err := net.Dial("tcp", first.at("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first.do("close")
	if second := listenAs(t, alice, first.at("127.0.0.1")); second.err != "" {
		t.Fatal(second.err)
	}
	if uid, err := portowner.Peer(c.(*net.TCPConn)); !errors.Is(err, portowner.ErrGone) {
		t.Errorf("the user is %d, %v", uid, err)
	}
	accepted := listenAs(t, bob, "127.0.0.1:0")
	kept := peerAt(t, accepted.at("127.0.0.1"), func() {
		accepted.do("accept")
		accepted.do("close")
		if second := listenAs(t, alice, accepted.at("127.0.0.1")); second.err != "" {
			t.Logf("the port is not free while a connection of it is open: %s", second.err)
		}
	})
	if kept != bob {
		t.Errorf("a connection that bob took and a listener of alice: user %d", kept)
	}
}

// TestNobodyJoins: another user cannot listen beside a listener, whatever both
// set, so that one listener at an address has one user.
func TestNobodyJoins(t *testing.T) {
	o := listenAs(t, alice, "127.0.0.1:0 reuseport")
	for _, host := range []string{"127.0.0.1", "0.0.0.0", "::"} {
		if p := listenAs(t, bob, o.at(host)+" reuseport"); p.err == "" {
			t.Errorf("bob listens beside alice at %s", host)
		}
	}
	// ::1 is another address: what is sent to 127.0.0.1 never goes there.
	six := listenAs(t, bob, o.at("::1")+" v6only")
	if six.err != "" {
		t.Skipf("no IPv6 here: %s", six.err)
	}
	if uid := peerAt(t, o.at("127.0.0.1"), nil); uid != alice {
		t.Errorf("127.0.0.1 is answered by %d", uid)
	}
	if uid := peerAt(t, o.at("::1"), nil); uid != bob {
		t.Errorf("::1 is answered by %d", uid)
	}
}

// TestDialer: who is not allowed gets a connection and no byte of it.
func TestDialer(t *testing.T) {
	o := listenAs(t, bob, "127.0.0.1:0")
	d := portowner.Dialer{Allow: func(uid int) error {
		if uid != alice {
			return fmt.Errorf("user %d is not alice", uid)
		}
		return nil
	}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := d.DialContext(ctx, "tcp", o.at("127.0.0.1"))
	var foreign *portowner.ForeignError
	if !errors.As(err, &foreign) || foreign.UID != bob || !strings.Contains(err.Error(), "is not alice") {
		t.Errorf("bob's port: %v", err)
	}
	own := listenAs(t, alice, "127.0.0.1:0")
	c, err := d.DialContext(ctx, "tcp", own.at("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if _, err := portowner.Listener(netip.MustParseAddrPort("127.0.0.1:1")); !errors.Is(err, portowner.ErrGone) {
		t.Errorf("a port of nobody: %v", err)
	}
}

func TestCheck(t *testing.T) {
	if err := portowner.Check(); err != nil {
		t.Error(err)
	}
}

// BenchmarkPeer is what a new connection costs on top.
func BenchmarkPeer(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for _, accepted := range []bool{false, true} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		if accepted {
			for range 2 {
				s, err := l.Accept()
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
			}
		}
		b.Run(fmt.Sprintf("accepted=%v", accepted), func(b *testing.B) {
			for b.Loop() {
				if _, err := portowner.Peer(c.(*net.TCPConn)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
