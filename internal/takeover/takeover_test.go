//go:build linux || darwin

package takeover_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/internal/takeover"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	one = takeover.Who{Name: "proxy-1", Version: "1.0.0"}
	two = takeover.Who{Name: "proxy-1", Version: "1.1.0"}
)

// socketPath is short: unix sockets allow about 100 bytes.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "to")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "socket")
}

func offer(t *testing.T, path string) *takeover.Listener {
	t.Helper()
	o, err := takeover.Listen(path, one)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// asked is what came of asking.
type asked struct {
	predecessor *takeover.Predecessor
	err         error
}

// pair brings a holder and a successor together; the successor asks in the background.
func pair(t *testing.T, o *takeover.Listener, path string, s *takeover.Sockets) (*takeover.Successor, chan asked) {
	t.Helper()
	done := make(chan asked, 1)
	go func() {
		c, err := takeover.Ask(t.Context(), path, two, s)
		done <- asked{c, err}
	}()
	h, err := o.Accept(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	if h.Who != two || h.PID != os.Getpid() {
		t.Errorf("the successor is %+v", h)
	}
	return h, done
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// talks checks that what is written at one end of an accepted connection comes out at the other.
func talks(t *testing.T, l net.Listener, c net.Conn) {
	t.Helper()
	got, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if _, err := io.WriteString(got, "hello"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
		t.Errorf("got %q %v", b, err)
	}
}

// The whole course: the successor accepts what came before the take-over, during it and after the holder
// has let go, and gets the file that is left at the end.
func TestTakeOver(t *testing.T) {
	path := socketPath(t)
	o := offer(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, want 0600 (%v)", info.Mode(), err)
	}
	var mine, theirs takeover.Sockets
	defer mine.Close()
	defer theirs.Close()
	l, err := mine.Listen("http", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	before := dial(t, addr)

	h, done := pair(t, o, path, &theirs)
	if err := h.Give(one, &mine); err != nil {
		t.Fatal(err)
	}
	a := <-done
	if a.err != nil {
		t.Fatal(a.err)
	}
	defer a.predecessor.Close()
	if a.predecessor.Holder != one {
		t.Errorf("the holder is %+v", a.predecessor.Holder)
	}
	successor, err := theirs.Listen("http", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	if successor.Addr().String() != addr {
		t.Fatalf("the successor listens on %s, want %s", successor.Addr(), addr)
	}
	ready := make(chan error, 1)
	go func() { ready <- a.predecessor.Ready(t.Context()) }()
	if err := h.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	during := dial(t, addr)
	if err := h.Go(); err != nil {
		t.Fatal(err)
	}
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	mine.Close()
	for _, c := range []net.Conn{before, during, dial(t, addr)} {
		talks(t, successor, c)
	}

	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("counted"), 0); err != nil {
		t.Fatal(err)
	}
	if err := h.Leave("sessions", f); err != nil {
		t.Fatal(err)
	}
	h.Close()
	name, got, err := a.predecessor.Next(t.Context())
	if err != nil || name != "sessions" {
		t.Fatal(name, err)
	}
	defer got.Close()
	b := make([]byte, 7)
	if _, err := got.ReadAt(b, 0); err != nil || string(b) != "counted" {
		t.Errorf("the file holds %q (%v)", b, err)
	}
	if _, _, err := a.predecessor.Next(t.Context()); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

// Whatever becomes of the successor before the word to go, the holder hears of it.
func TestHeirFails(t *testing.T) {
	for name, tt := range map[string]struct {
		successor func(*takeover.Predecessor)
		want      string
	}{
		"says so": {func(c *takeover.Predecessor) { c.Fail(errors.New("no catalog")) }, "no catalog"},
		"ends":    {func(c *takeover.Predecessor) { c.Close() }, "has ended"},
	} {
		t.Run(name, func(t *testing.T) {
			path := socketPath(t)
			var none takeover.Sockets
			h, done := pair(t, offer(t, path), path, &none)
			if err := h.Give(one, &none); err != nil {
				t.Fatal(err)
			}
			a := <-done
			if a.err != nil {
				t.Fatal(a.err)
			}
			defer a.predecessor.Close()
			tt.successor(a.predecessor)
			if err := h.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// A holder that does not want to wait any longer says so; one that has died leaves everything.
func TestHolderChangesItsMind(t *testing.T) {
	for name, tt := range map[string]struct {
		holder func(*takeover.Successor)
		want   error
	}{
		"revokes":             {(*takeover.Successor).Revoke, takeover.ErrRevoked},
		"dies":                {(*takeover.Successor).Close, nil},
		"revokes and goes on": {func(h *takeover.Successor) { h.Revoke(); h.Close() }, takeover.ErrRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			path := socketPath(t)
			var none takeover.Sockets
			h, done := pair(t, offer(t, path), path, &none)
			if err := h.Give(one, &none); err != nil {
				t.Fatal(err)
			}
			a := <-done
			if a.err != nil {
				t.Fatal(a.err)
			}
			defer a.predecessor.Close()
			tt.holder(h)
			if err := a.predecessor.Ready(t.Context()); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// The successor that waits too long ends with its context, and the holder as well.
func TestImpatience(t *testing.T) {
	path := socketPath(t)
	var none takeover.Sockets
	h, done := pair(t, offer(t, path), path, &none)
	enough := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if err := h.Ready(ctx); !errors.Is(err, enough) {
		t.Errorf("the holder waits: %v", err)
	}
	h.Close()
	if a := <-done; !errors.Is(a.err, takeover.ErrGone) {
		t.Errorf("the successor got %v, want %v", a.err, takeover.ErrGone)
	}
}

func TestNobody(t *testing.T) {
	path := socketPath(t)
	var none takeover.Sockets
	ask := func() error {
		_, err := takeover.Ask(t.Context(), path, two, &none)
		return err
	}
	if err := ask(); !errors.Is(err, takeover.ErrNobody) {
		t.Errorf("without a socket: %v", err)
	}
	long := filepath.Join(filepath.Dir(path), strings.Repeat("long", 40))
	if _, err := takeover.Ask(t.Context(), long, two, &none); !errors.Is(err, takeover.ErrNobody) {
		t.Errorf("with a path that no socket can have: %v", err)
	}
	if _, err := takeover.Listen(long, one); err == nil {
		t.Error("it listens on a path that no socket can have")
	}
	o := offer(t, path)
	_ = o.Close()
	if err := ask(); !errors.Is(err, takeover.ErrNobody) {
		t.Errorf("with the socket of a process that has died: %v", err)
	}
	o = offer(t, path) // in its place
	o.Withdraw()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("withdrawn, the socket is still there: %v", err)
	}
}

// Another member's process is turned away with the reason, and the offer stays.
func TestAnotherName(t *testing.T) {
	path := socketPath(t)
	o := offer(t, path)
	var none takeover.Sockets
	refused := make(chan error, 1)
	got := make(chan error, 1)
	go func() {
		_, err := takeover.Ask(t.Context(), path, takeover.Who{Name: "proxy-2"}, &none)
		got <- err
		_ = o.Close()
	}()
	if _, err := o.Accept(func(err error) { refused <- err }); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepted: %v", err)
	}
	for _, err := range []error{<-refused, <-got} {
		if err == nil || !strings.Contains(err.Error(), `"proxy-1"`) || !strings.Contains(err.Error(), `"proxy-2"`) {
			t.Errorf("got %v, want both names", err)
		}
	}
}

// A socket from elsewhere serves the address that it is bound to, and no other.
func TestKeep(t *testing.T) {
	var s takeover.Sockets
	defer s.Close()
	made, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	addr := made.Addr().String()
	f, err := made.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, name := range []string{"http", "https", "admin"} {
		if err := s.Keep(name, f); err != nil {
			t.Fatal(err)
		}
	}
	l, err := s.Listen("http", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Addr().String() != addr {
		t.Errorf("it listens on %s, want %s", l.Addr(), addr)
	}
	other, err := s.Listen("admin", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if other.Addr().String() == addr {
		t.Error("a socket of another address is used")
	}
	if unused := s.Trim(); len(unused) != 1 || unused[0] != "https" {
		t.Errorf("unused: %v, want https", unused)
	}
	c := dial(t, addr)
	_ = made.Close()
	talks(t, l, c)
}

// A listener that is closed and made again misses nothing; another address binds anew; what
// this process does not use is let go.
func TestSockets(t *testing.T) {
	var s takeover.Sockets
	defer s.Close()
	l, err := s.Listen("admin", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	between := dial(t, addr)
	if l, err = s.Listen("admin", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	talks(t, l, between)
	_ = l.Close()

	other, err := s.Listen("admin", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if other.Addr().String() == addr {
		t.Errorf("for another address it listens on %s still", addr)
	}
	if unused := s.Trim(); len(unused) > 0 {
		t.Errorf("unused: %v", unused)
	}
}

// Once it serves, the successor says whom to cut off and when to end; its own end is told from that.
func TestTheHeirSpeaksToTheFormer(t *testing.T) {
	path := socketPath(t)
	var mine, theirs takeover.Sockets
	h, done := pair(t, offer(t, path), path, &theirs)
	if err := h.Give(one, &mine); err != nil {
		t.Fatal(err)
	}
	got := <-done
	if got.err != nil {
		t.Fatal(got.err)
	}
	hear := func(want string) {
		t.Helper()
		if name, err := h.Word(t.Context()); err != nil || name != want {
			t.Errorf("heard %q %v, want %q", name, err, want)
		}
	}
	if err := errors.Join(got.predecessor.Cut("server-2"), got.predecessor.Cut("server-3"), got.predecessor.End()); err != nil {
		t.Fatal(err)
	}
	hear("server-2")
	hear("server-3")
	hear("")
	got.predecessor.Close()
	if name, err := h.Word(t.Context()); err == nil {
		t.Errorf("heard %q of a successor that has ended", name)
	}
}
