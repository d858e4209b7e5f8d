package listener

import (
	"net"
	"sync/atomic"

	"portico/internal/unsent"
)

// moving is a connection that counts its bytes.
type moving struct {
	net.Conn
	came, went atomic.Int64
}

// Read implements net.Conn.
func (m *moving) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.came.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (m *moving) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	m.went.Add(int64(n))
	return n, err
}

// moved reports whether the proxy has sent anything since the last look, or taken anything of what an instance sends. What the agent itself
// says does not count: the system of a process that hangs takes that for hours.
func (k *link) moved() bool {
	now := k.bytes.came.Load()
	if k.instance != "" {
		went := k.bytes.went.Load() // before what is held, or bytes written between could count as taken
		now += went - max(0, int64(unsent.Held(k.bytes.Conn)))
	}
	more := now > k.seen
	k.seen = max(k.seen, now)
	return more
}

// NoteMoved notes which proxies have moved bytes of a connection since the last look.
func (s *Server) NoteMoved() {
	proxies := map[string]bool{}
	s.mu.Lock()
	for k := range s.open {
		if k.proxy != "" && k.moved() {
			proxies[k.proxy] = true
		}
	}
	s.mu.Unlock()
	for name := range proxies {
		s.o.Heard(name)
	}
}
