package listener

import (
	"crypto/tls"
	"net"
)

// link is one authenticated connection.
type link struct {
	conn     *tls.Conn
	inst     net.Conn // to the instance; nil: the agent itself answers
	instance string   // empty: it goes to no instance
	name     string   // server name
	proxy    string   // who has it; empty: no proxy, or one without a name; guarded by the server's mu
	bytes    *moving  // below conn
	seen     int64    // what had moved at the last look; guarded by the server's mu
}

func (s *Server) drop(k *link) {
	s.mu.Lock()
	delete(s.open, k)
	s.mu.Unlock()
	_ = k.conn.Close()
}

// Cut closes all connections to an instance.
func (s *Server) Cut(instance string) {
	s.each(func(k *link) bool { return k.instance == instance })
}

// Recheck closes the connections of members that are not accepted any more.
func (s *Server) Recheck() {
	if s.o.Identify != nil {
		s.each(func(k *link) bool { _, err := s.allowed(k); return err != nil })
	}
}

// each closes the connections that pick picks. Closing the raw connection ends
// reads and writes at once; a TLS close could wait for a write that hangs. The
// instance's side is closed as well: a relay whose proxy has ended its half reads on
// there, for minutes.
func (s *Server) each(pick func(*link) bool) {
	s.mu.Lock()
	list := make([]*link, 0, len(s.open))
	for k := range s.open {
		list = append(list, k)
	}
	s.mu.Unlock()
	for _, k := range list {
		if pick(k) {
			_ = k.conn.NetConn().Close()
			if k.inst != nil {
				_ = k.inst.Close()
			}
		}
	}
}

// Watch remembers the connections to instances that are open now. What it returns reports whether one of them still is.
func (s *Server) Watch() (anyOpen func() bool) {
	these := s.links()
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for k := range these {
			if _, open := s.open[k]; open {
				return true
			}
			delete(these, k)
		}
		return false
	}
}

// links returns the connections to instances that are open now.
func (s *Server) links() map[*link]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make(map[*link]struct{}, len(s.open))
	for k := range s.open {
		if k.instance != "" {
			list[k] = struct{}{}
		}
	}
	return list
}

// Quiet reports whether no connection to an instance is left and none can come any more: one in
// its handshake becomes one, and its client may have its answer before anybody looks.
func (s *Server) Quiet() bool {
	select {
	case <-s.deaf:
	default:
		return false
	}
	return len(s.slots) == 0 && len(s.links()) == 0
}
