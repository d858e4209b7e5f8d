package rig

import (
	"fmt"
	"net"
	"sync"
	"testing"
)

// Keeper is an origin that keeps what it knows of a visitor with the connection: it answers "seen N", for the number of requests that
// have come on it.
type Keeper struct {
	*Origin

	mu   sync.Mutex
	seen map[net.Conn]int // guarded by mu
}

// NewKeeper starts one.
func NewKeeper(t *testing.T) *Keeper {
	k := &Keeper{seen: map[net.Conn]int{}}
	k.Origin = NewOrigin(t, func(_ int, _ string, c net.Conn) bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.seen[c]++
		text := fmt.Sprintf("seen %d", k.seen[c])
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		return err == nil
	})
	return k
}
