package listen

import (
	"net/netip"
	"sync"
)

// PerAddress counts connections for each client address.
type PerAddress struct {
	mu sync.Mutex
	m  map[netip.Addr]int
}

// Add adds n connections of an address, which may be negative, and returns how many there are.
func (a *PerAddress) Add(addr netip.Addr, n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m == nil {
		a.m = map[netip.Addr]int{}
	}
	a.m[addr] += n
	left := a.m[addr]
	if left <= 0 {
		delete(a.m, addr)
	}
	return left
}
