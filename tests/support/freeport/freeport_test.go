package freeport_test

import (
	"net"
	"strconv"
	"testing"

	"portico/tests/support/freeport"
)

// No port is given twice while its test runs, and each can be bound.
func TestGet(t *testing.T) {
	var given []int
	t.Run("one test", func(t *testing.T) {
		seen := map[int]bool{}
		for range 250 { // more than two blocks
			port := freeport.Get(t)
			if seen[port] {
				t.Fatalf("port %d was given twice", port)
			}
			seen[port] = true
			given = append(given, port)
		}
		ln, err := net.Listen("tcp", freeport.Addr(t))
		if err != nil {
			t.Fatal(err)
		}
		_ = ln.Close()
	})
	// They came back: the next test gets one of them, unless somebody sits on it.
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(given[0])))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range 250 {
		if port := freeport.Get(t); port == given[0] {
			t.Fatalf("port %d was given while somebody listens on it", port)
		}
	}
}
