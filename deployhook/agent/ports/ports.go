// Package ports gives the instances of an agent ports on loopback.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"

	"portico/deployhook/agent/account"
)

// Ports hands out loopback ports to instances of this agent. Another program
// can still take a port between the choice and the start: the instance then
// ends or fails its ownership check, and the next start gets another port.
type Ports struct {
	r account.Range

	mu   sync.Mutex
	used map[int]bool
}

// New returns one that hands out those of a range.
func New(r account.Range) *Ports { return &Ports{r: r, used: make(map[int]bool)} }

// Take returns a port that nobody listens on.
func (p *Ports) Take() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	start := rand.IntN(p.r.Count)
	for i := range p.r.Count {
		port := p.r.First + (start+i)%p.r.Count
		if p.used[port] || !portFree(port) {
			continue
		}
		p.used[port] = true
		return port, nil
	}
	return 0, fmt.Errorf("no free port from %d to %d: widen agent.ports", p.r.First, p.r.First+p.r.Count-1)
}

// Reserve marks the port of an adopted instance.
func (p *Ports) Reserve(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used[port] = true
}

// Release gives a port back.
func (p *Ports) Release(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, port)
}

func portFree(port int) bool {
	l, err := net.Listen("tcp", Loopback(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// Loopback is the address of a port.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
