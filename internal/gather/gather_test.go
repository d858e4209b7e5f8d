package gather_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"portico/internal/gather"
)

// slow is a connection that sends nothing before it may.
type slow struct {
	net.Conn
	may  chan struct{}
	fail error

	mu     sync.Mutex
	writes []string
	closed bool
}

func (s *slow) Write(b []byte) (int, error) {
	<-s.may
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	s.writes = append(s.writes, string(b))
	return len(b), nil
}

func (s *slow) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *slow) SetWriteDeadline(time.Time) error { return nil }

func (s *slow) seen() ([]string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.writes...), s.closed
}

// What is written while something is being sent goes out together.
func TestGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{may: make(chan struct{})}
		g := gather.New(s)
		put(t, g, "a")
		synctest.Wait() // "a" is being sent
		put(t, g, "b")
		put(t, g, "c")
		s.may <- struct{}{}
		s.may <- struct{}{}
		synctest.Wait()
		if got, _ := s.seen(); len(got) != 2 || got[0] != "a" || got[1] != "bc" {
			t.Errorf("sent %q", got)
		}
	})
}

func put(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if n, err := io.WriteString(w, text); n != len(text) || err != nil {
		t.Fatal(n, err)
	}
}

// Who writes much waits until it is being sent.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{may: make(chan struct{})}
		g := gather.New(s)
		block := bytes.Repeat([]byte("x"), 40<<10)
		written := 0
		go func() {
			for range 5 {
				_, _ = g.Write(block)
				written++
			}
		}()
		synctest.Wait()
		if written != 2 {
			t.Errorf("%d blocks were taken while the first is being sent", written)
		}
		for range 5 {
			s.may <- struct{}{}
		}
		synctest.Wait()
		got, _ := s.seen()
		total := 0
		for _, b := range got {
			total += len(b)
		}
		if written != 5 || total != 5*len(block) {
			t.Errorf("%d blocks, %d bytes", written, total)
		}
	})
}

// An error is what the next write returns, and ends the connection.
func TestError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		s := &slow{may: make(chan struct{}), fail: broken}
		close(s.may)
		g := gather.New(s)
		put(t, g, "a")
		synctest.Wait()
		if _, err := g.Write([]byte("b")); !errors.Is(err, broken) {
			t.Error(err)
		}
		if _, closed := s.seen(); !closed {
			t.Error("the connection is open: its reader waits for ever")
		}
	})
}

// Close does not wait, and loses nothing.
func TestCloseSendsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{may: make(chan struct{})}
		g := gather.New(s)
		put(t, g, "a")
		synctest.Wait()
		put(t, g, "b")
		// As crypto/tls does it: good-bye, then nothing more, then Close.
		_ = g.SetWriteDeadline(time.Now().Add(5 * time.Second))
		put(t, g, "bye")
		_ = g.SetWriteDeadline(time.Now())
		if _, err := g.Write([]byte("late")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("after the deadline:", err)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if _, err := g.Write([]byte("later")); !errors.Is(err, net.ErrClosed) {
			t.Error("after Close:", err)
		}
		if _, closed := s.seen(); closed {
			t.Error("closed before all was sent")
		}
		close(s.may)
		synctest.Wait()
		if got, closed := s.seen(); len(got) != 2 || got[1] != "bbye" || !closed {
			t.Errorf("sent %q, closed %v", got, closed)
		}
	})
}

// A peer that takes nothing is given up: by the deadline of a write, and a few
// seconds after Close.
func TestStuckPeer(t *testing.T) {
	for name, end := range map[string]func(*gather.Conn){
		"deadline": func(g *gather.Conn) { _ = g.SetWriteDeadline(time.Now().Add(3 * time.Second)) },
		"close":    func(*gather.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe() // far reads nothing
				defer far.Close()
				g := gather.New(near)
				end(g)
				put(t, g, "a")
				synctest.Wait()
				if name == "close" {
					_ = g.Close()
				}
				began := time.Now()
				_, err := near.Read(make([]byte, 1))
				if took := time.Since(began); err == nil || took < 2*time.Second || took > 6*time.Second {
					t.Errorf("closed after %v: %v", took, err)
				}
			})
		})
	}
}

// Over real sockets every byte arrives once and in its writer's order.
func TestManyWriters(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	g := gather.New(server)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := range 500 {
				_, _ = g.Write([]byte{byte(w), byte(n >> 8), byte(n)})
			}
		})
	}
	go func() { wg.Wait(); _ = g.CloseWrite(); _ = g.Close() }()
	all, err := io.ReadAll(client)
	if err != nil || len(all) != 8*500*3 {
		t.Fatal(len(all), err)
	}
	next := map[byte]int{}
	for ; len(all) > 0; all = all[3:] {
		if n := int(all[1])<<8 | int(all[2]); n != next[all[0]] {
			t.Fatalf("writer %d: %d came, %d was due", all[0], n, next[all[0]])
		}
		next[all[0]]++
	}
}
