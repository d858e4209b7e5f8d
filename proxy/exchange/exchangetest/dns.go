package exchangetest

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer is a DNS server that everything in the process asks while a test runs. It knows the names in known, which all lead to
// loopback, and says of others that they do not exist.
type nameServer struct {
	pc    net.PacketConn
	known map[string]bool

	mu    sync.Mutex
	held  map[string]chan struct{} // answers about these wait
	asked map[string]int
	wg    sync.WaitGroup
}

// resolve makes one the process's resolver until the test ends: nothing else may run beside it.
func resolve(t *testing.T, known ...string) *nameServer {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{pc: pc, known: map[string]bool{}, held: map[string]chan struct{}{}, asked: map[string]int{}}
	for _, name := range known {
		n.known[name] = true
	}
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Resolver: new(net.Resolver)} // not the process's, which a look-up that nobody waits for any more would still read
		return d.DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
	n.wg.Go(n.serve)
	t.Cleanup(func() {
		net.DefaultResolver = before
		n.mu.Lock()
		for _, c := range n.held {
			close(c)
		}
		n.held = nil
		n.mu.Unlock()
		_ = pc.Close()
		n.wg.Wait()
	})
	return n
}

// hold makes the answers about a name wait for what it returns.
func (n *nameServer) hold(name string) (release func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := make(chan struct{})
	n.held[name] = c
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.held, name)
		close(c)
	}
}

// count is how often a name was asked for.
func (n *nameServer) count(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[name]
}

func (n *nameServer) serve() {
	var b [1 << 10]byte
	for {
		k, from, err := n.pc.ReadFrom(b[:])
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b[:k]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		name := q.Name.String()
		m.Response, m.Additionals = true, nil
		switch {
		case !n.known[name]:
			m.RCode = dnsmessage.RCodeNameError
		case q.Type == dnsmessage.TypeA:
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: netip.MustParseAddr("127.0.0.1").As4()},
			}}
		}
		n.mu.Lock()
		n.asked[name]++
		wait := n.held[name]
		n.mu.Unlock()
		n.wg.Go(func() {
			if wait != nil {
				<-wait
			}
			if answer, err := m.Pack(); err == nil {
				_, _ = n.pc.WriteTo(answer, from)
			}
		})
	}
}
