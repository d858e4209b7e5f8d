package peers

import (
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"portico/internal/descriptors"
)

// TestPrune: those who are turned away by now lose their connections, also when the question who is
// welcome asks which connections there are.
func TestPrune(t *testing.T) {
	p := &Server{conns: map[net.Conn]peer{}}
	p.admit = func(_ Role, name, _ string) error {
		if p.Connected("leader") && name == "gone" {
			return errors.New("unknown here")
		}
		return nil
	}
	ends := map[string]net.Conn{}
	for _, name := range []string{"leader", "gone"} {
		a, b := net.Pipe()
		defer func() { _, _ = a.Close(), b.Close() }()
		p.conns[a], ends[name] = peer{role: RoleProxy, name: name}, b
	}
	p.Prune()
	if p.Connected("gone") || !p.Connected("leader") {
		t.Errorf("connections left: %v", p.conns)
	}
	if _, err := ends["gone"].Read(make([]byte, 1)); err == nil {
		t.Error("the connection of who is turned away is open")
	}
}

// TestStrangersHaveAShare: whoever has not proved to be a proxy cannot have all descriptors, and pushes out nobody who has.
func TestStrangersHaveAShare(t *testing.T) {
	l, err := listen("127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	come := func() *conn {
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = near.Close(), c.Close() })
		return c.(*conn)
	}
	isOpen := func(c *conn) bool { return c.SetDeadline(time.Time{}) == nil }
	known := come()
	known.new.Leave()
	share := descriptors.Share(8)
	var all []*conn
	for range 2*share + 1 {
		all = append(all, come())
	}
	open := 0
	for _, c := range all {
		if isOpen(c) {
			open++
		}
	}
	if open != share || !isOpen(all[len(all)-1]) || !isOpen(known) {
		t.Errorf("%d of %d strangers are open, want %d; the proxy is: %v", open, len(all), share, isOpen(known))
	}
}
