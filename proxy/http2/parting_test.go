package http2

import (
	"testing"
	"time"

	"portico/proxy/wire"
)

// TestParting: a client whose request was answered before its end may finish it without a reset, which some take for the end of the
// answer as well. One that goes on for too long is told to stop, and so is the oldest of very many.
func TestParting(t *testing.T) {
	early := with(browser, [2]string{":method", "POST"}, [2]string{"x-early", "1"})
	begin := func() (*server, *script) {
		s := newServer(t, func(*asked) reply { return plain(200, "ok") })
		return s, newScript().hello()
	}
	end := func(s *server) {
		t.Helper()
		if s.c.Over() {
			t.Error("the connection has ended")
		}
		s.c.Read(0, wire.EOF)
		s.act()
		s.ends()
	}
	later := func(s *server) string {
		s.c.Now(s.c.now + int64(2*time.Second))
		s.c.Timeout()
		return said(t, s.feed(nil))
	}

	s, w := begin()
	w.headers(1, false, early)
	for range (windowUsual + partingRoom) / frameMost {
		w.frame(frameData, 0, 1, make([]byte, frameMost)...)
	}
	w.frame(frameData, flagEnd, 1, 'x')
	if got := said(t, s.feed(w.take())) + later(s); got != "" {
		t.Errorf("who finishes is told %q", got)
	}
	end(s)

	s, w = begin()
	w.headers(1, false, early).frame(frameData, 0, 1, 'x')
	if got := said(t, s.feed(w.take())); got != "" {
		t.Errorf("who is about to finish is told %q", got)
	}
	if at := s.c.Deadline(); at == 0 || at > s.c.now+partingWait {
		t.Errorf("the deadline is %d", at)
	}
	if got := later(s); got != "RST 1 0" {
		t.Errorf("who does not finish is told %q", got)
	}
	end(s)

	s, w = begin()
	for i := range uint32(partingMost + 1) {
		w.headers(2*i+1, false, early)
	}
	if got := said(t, s.feed(w.take())); got != "RST 1 0" {
		t.Errorf("so many are told %q", got)
	}
	end(s)
}
