package loop_test

import (
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/loop"
)

// TestDescriptorLimit: without descriptors, who comes gets 503 and the loop does not spin; with them, all is as before (Z2).
func TestDescriptorLimit(t *testing.T) {
	const hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
	o := rig.NewOrigin(t, func(_ int, _ string, c net.Conn) bool {
		_, err := io.WriteString(c, hello)
		return err == nil
	})
	h := &rig.Handler{Upstreams: []*exchange.Upstream{{Addr: o.Addr()}}}
	addr, d := rig.Start(t, func(opt exchange.Options) (exchange.Driver, error) {
		opt.Loops = 1
		return loop.New(opt)
	}, exchange.Options{Config: exchange.Config{Handler: h}})
	const get = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	if got := rig.Exchange(t, addr, get); !strings.HasSuffix(got, "hello") {
		t.Fatalf("got %q", got)
	}

	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = 200
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	restore := func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old) }
	defer restore()
	// The sockets of the first exchange are closed some time after its answer:
	// their descriptors must be taken too, or the one left below is not the last.
	var fill []*os.File
	for full := 0; full < 20; full++ {
		for f, err := os.Open(os.DevNull); err == nil; f, err = os.Open(os.DevNull) {
			fill, full = append(fill, f), 0
		}
		<-time.After(5 * time.Millisecond)
	}
	if len(fill) == 0 {
		t.Fatal("the process has more descriptors open than the test's limit: another test leaves some behind")
	}
	defer func() {
		for _, f := range fill {
			_ = f.Close()
		}
	}()
	_ = fill[0].Close() // one, for the client's side
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Skipf("no descriptor for the client: %v", err)
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(c, get)
	b, _ := io.ReadAll(c)
	_ = c.Close()
	if !strings.HasPrefix(string(b), "HTTP/1.1 503 ") {
		t.Errorf("without descriptors: got %q", b)
	}
	var turns uint64
	for _, n := range d.Stats().Latency {
		turns += n
	}
	if turns > 1000 {
		t.Errorf("%d turns: the loop spins", turns)
	}
	for _, f := range fill {
		_ = f.Close()
	}
	fill = nil
	restore()
	// The loop may still be refusing those who wait, so the next one may be among them.
	rig.Eventually(t, "afterwards all is as before", func() bool { return strings.HasSuffix(rig.Exchange(t, addr, get), "hello") })
	if s := d.Stats(); s.Refused == 0 {
		t.Error("none refused")
	}
}

// TestDescriptorsAreGivenBack: after many exchanges, with splices, resets and refusals among them, as many descriptors are open as
// before the driver began.
func TestDescriptorsAreGivenBack(t *testing.T) {
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := count()
	t.Run("work", func(t *testing.T) { exchangetest.RunTable(t, loops(2)) })
	rig.Eventually(t, "all descriptors are closed", func() bool { return count() <= before })
}
