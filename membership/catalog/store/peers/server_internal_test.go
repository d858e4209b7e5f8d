package peers

import (
	"errors"
	"net"
	"testing"
)

// TestPrune: those who are turned away by now lose their connections, also when the question who is welcome asks which connections there are.
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
