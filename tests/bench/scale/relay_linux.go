package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// relay passes connections on and counts their bytes.
type relay struct {
	l        net.Listener
	to       string
	there    atomic.Int64 // from who connects
	back     atomic.Int64
	mu       sync.Mutex
	open     map[net.Conn]bool // guarded by mu
	finished sync.WaitGroup
}

func startRelay(to string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{l: l, to: to, open: map[net.Conn]bool{}}
	r.finished.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.finished.Go(func() { r.serve(c) })
		}
	})
	return r, nil
}

func (r *relay) addr() string { return r.l.Addr().String() }

// close ends the relay and its connections.
func (r *relay) close() {
	_ = r.l.Close()
	r.mu.Lock()
	for c := range r.open {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.finished.Wait()
}

func (r *relay) serve(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer up.Close()
	r.mu.Lock()
	r.open[c], r.open[up] = true, true
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { pass(up, c, &r.there) })
	both.Go(func() { pass(c, up, &r.back) })
	both.Wait()
	r.mu.Lock()
	delete(r.open, c)
	delete(r.open, up)
	r.mu.Unlock()
}

// pass copies until one side ends, and counts while it does.
func pass(to, from net.Conn, n *atomic.Int64) {
	_, _ = io.Copy(to, io.TeeReader(from, counter{n}))
	_ = to.(*net.TCPConn).CloseWrite()
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}
