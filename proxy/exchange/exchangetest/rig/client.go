package rig

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Gone fails the test if a connection does not end.
func Gone(t *testing.T, what string, ended <-chan struct{}) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(Patience):
		t.Errorf("%s goes on", what)
	}
}

// Exchange sends raw bytes and returns all that comes back until the proxy closes, or, for a connection that it keeps, until we
// have half-closed and it has answered everything.
func Exchange(t testing.TB, addr string, pieces ...string) string {
	t.Helper()
	c := Dial(t, addr)
	for _, p := range pieces {
		if _, err := io.WriteString(c, p); err != nil {
			break // refused early
		}
	}
	_ = c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(c)
	s := string(b)
	if err != nil {
		s += fmt.Sprintf("<%s>", short(err))
	}
	return s
}

// ExchangeOpen is Exchange for servers that take a half-closed client for gone: it half-closes only when enough says that all answers
// have come, and then reads what else there may be.
func ExchangeOpen(t testing.TB, addr string, enough func(got string) bool, pieces ...string) string {
	t.Helper()
	c := Dial(t, addr)
	for _, p := range pieces {
		if _, err := io.WriteString(c, p); err != nil {
			break // refused early
		}
	}
	var got []byte
	buf := make([]byte, 64<<10)
	for open := true; ; {
		if open && enough(string(got)) {
			_ = c.(*net.TCPConn).CloseWrite()
			open = false
		}
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err == io.EOF {
			return string(got)
		}
		if err != nil {
			return string(got) + fmt.Sprintf("<%s>", short(err))
		}
	}
}

func short(err error) string {
	switch {
	case strings.Contains(err.Error(), "reset"), strings.Contains(err.Error(), "forcibly"):
		return "reset"
	case strings.Contains(err.Error(), "timeout"):
		return "timeout"
	}
	return err.Error()
}

// Dial connects with a deadline for everything.
func Dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(Patience))
	return c
}

// Expect reads exactly want from c.
func Expect(t testing.TB, c io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	n, err := io.ReadFull(c, b)
	if err != nil || string(b) != want {
		t.Fatalf("got %q (%v), want %q", b[:n], err, want)
	}
}

// Eventually waits for a condition that another goroutine brings about.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
