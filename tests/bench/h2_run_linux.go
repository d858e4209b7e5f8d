package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// h2 opens a connection.
func (l *load) h2() (*h2Load, error) {
	answer := answers[l.path[1:]]
	return newH2Load(l.addr, l.host, l.path, len(answer)-bytes.Index(answer, []byte("\r\n\r\n"))-4, l.body)
}

// runH2 is the load generator of the case: connections with several streams each.
func (l *load) runH2() error {
	var on, stop atomic.Bool
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs atomic.Int64
	var first string
	for range l.conns {
		wg.Go(func() {
			var h histogram
			count := 0
			for !stop.Load() {
				c, err := l.h2()
				if err == nil {
					c.done = func(began int64) {
						if on.Load() {
							h.add(nano() - began)
							count++
						}
					}
					err = c.run(l.streams, &stop)
					_ = c.conn.NetConn().Close()
				}
				if err != nil && !stop.Load() {
					errs.Add(1)
					mu.Lock()
					first = err.Error()
					mu.Unlock()
					time.Sleep(10 * time.Millisecond)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			l.count += count
			for i, n := range h {
				l.h[i] += n
			}
		})
	}
	return l.timed(&on, &stop, func() { wg.Wait(); l.errors, l.first = int(errs.Load()), first })
}

// once makes one request on a connection of its own and returns the connection.
func (l *load) once() (c *h2Load, took int64, err error) {
	start, ended := nano(), atomic.Bool{}
	if c, err = l.h2(); err != nil {
		return nil, 0, err
	}
	c.done, c.single = func(int64) { ended.Store(true) }, true
	if err = c.run(1, &ended); err == nil && len(c.out) > 0 {
		_, err = c.conn.Write(c.out) // what it owes for the proxy's settings
	}
	if err != nil {
		_ = c.conn.NetConn().Close()
	}
	return c, nano() - start, err
}

// runH2New opens a connection for each request.
func (l *load) runH2New() error {
	var on, stop atomic.Bool
	var count, errs atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range min(l.conns, 16) {
		wg.Go(func() {
			var h histogram
			for !stop.Load() {
				c, took, err := l.once()
				if err != nil {
					errs.Add(1)
					continue
				}
				_ = c.conn.NetConn().(*net.TCPConn).SetLinger(0) // no TIME_WAIT: there are not ports enough
				_ = c.conn.NetConn().Close()
				if on.Load() {
					h.add(took)
					count.Add(1)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for i, n := range h {
				l.h[i] += n
			}
		})
	}
	return l.timed(&on, &stop, func() {
		wg.Wait()
		l.count, l.errors = int(count.Load()), int(errs.Load())
	})
}

// runH2Idle opens connections, makes a request on each, and keeps them until its input closes.
func (l *load) runH2Idle() error {
	var open []*h2Load
	for range l.conns {
		c, _, err := l.once()
		if err != nil {
			break
		}
		open = append(open, c)
	}
	fmt.Println("open", len(open))
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, c := range open {
		_ = c.conn.NetConn().Close()
	}
	return nil
}
