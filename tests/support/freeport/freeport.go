// Package freeport hands out loopback ports to tests whose programs must be told
// a port before they bind it.
//
// Asking the system for port 0 and closing it again is no way to get one: the
// system soon gives the same number to somebody else, as the local end of any
// connection. These ports lie below those that systems give away by themselves
// and beside those that agents give to sites, no two tests have the same one at
// a time, and neither have two processes of tests on one machine.
package freeport

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
)

const (
	first = 10_000 // agents give 20000 to 29999 to sites, Linux gives 32768 and more to connections
	count = 10_000
	block = 100 // ports that a process takes at once
)

// owned are the ports of this process, shared by its tests.
var owned struct {
	mu   sync.Mutex
	free []int          // guarded by mu; the one that was given back last is last
	held []net.Listener // guarded by mu; the first port of each block, which marks it as taken until the process ends
}

// Get returns a port of loopback that is free for TCP and UDP. It belongs to the
// test and goes back when the test and its clean-ups have ended.
func Get(t testing.TB) int {
	t.Helper()
	port, err := take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		owned.mu.Lock()
		defer owned.mu.Unlock()
		owned.free = append(owned.free, port)
	})
	return port
}

// Addr is Get as an address.
func Addr(t testing.TB) string {
	t.Helper()
	return address(Get(t))
}

func take() (int, error) {
	owned.mu.Lock()
	defer owned.mu.Unlock()
	for {
		for i, port := range owned.free {
			if usable(port) {
				owned.free = append(owned.free[:i:i], owned.free[i+1:]...)
				return port, nil
			}
		}
		if err := takeBlockLocked(); err != nil {
			return 0, err
		}
	}
}

// takeBlockLocked adds a block of ports whose first port nobody listens on.
func takeBlockLocked() error {
	for start := first; start < first+count; start += block {
		ln, err := net.Listen("tcp", address(start))
		if err != nil {
			continue
		}
		owned.held = append(owned.held, ln)
		for port := start + 1; port < start+block; port++ {
			owned.free = append(owned.free, port)
		}
		return nil
	}
	return fmt.Errorf("no block of free ports from %d to %d", first, first+count-1)
}

// usable reports whether a program that knows nothing of blocks leaves the port alone.
func usable(port int) bool {
	ln, err := net.Listen("tcp", address(port))
	if err != nil {
		return false
	}
	defer ln.Close()
	udp, err := net.ListenPacket("udp", address(port))
	if err != nil {
		return false
	}
	return udp.Close() == nil
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
