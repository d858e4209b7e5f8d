package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// visit is one request of a visitor, by when it was due.
type visit struct{ at, took time.Duration }

// visitors send requests to a proxy over kept connections. They bring the cookies that they were given, one for each host.
type visitors struct {
	addr  string
	hosts int // drawn from the first so many sites
	rate  int // requests a second, however long answers take; 0: each connection sends its next when it has its answer

	began   time.Time
	number  atomic.Int64 // of the next request that is due
	cookies []atomic.Pointer[string]
	stopped atomic.Bool
	wg      sync.WaitGroup

	mu     sync.Mutex
	visits []visit // guarded by mu until all have ended
	failed atomic.Int64
	first  atomic.Pointer[string] // failure
}

func startVisitors(addr string, conns, hosts, rate int) *visitors {
	v := &visitors{addr: addr, hosts: hosts, rate: rate, began: time.Now(), cookies: make([]atomic.Pointer[string], hosts)}
	for range conns {
		v.wg.Go(v.come)
	}
	return v
}

// now is the time by the visitors' clock.
func (v *visitors) now() time.Duration { return time.Since(v.began) }

// stop ends the visits and returns all of them, in the order in which they were due.
func (v *visitors) stop() ([]visit, error) {
	v.stopped.Store(true)
	v.wg.Wait()
	slices.SortFunc(v.visits, func(a, b visit) int { return int(a.at - b.at) })
	if len(v.visits) == 0 {
		if first := v.first.Load(); first != nil {
			return nil, fmt.Errorf("no visitor was answered: %s", *first)
		}
		return nil, fmt.Errorf("no visitor was answered")
	}
	return v.visits, nil
}

// come is one connection's visits, over another one after a failure.
func (v *visitors) come() {
	var own []visit
	var c net.Conn
	var r *bufio.Reader
	for !v.stopped.Load() {
		due := v.due()
		if c == nil {
			var err error
			if c, err = net.DialTimeout("tcp", v.addr, 5*time.Second); err != nil {
				v.fail(err)
				continue
			}
			r = bufio.NewReader(c)
		}
		if err := v.ask(c, r); err != nil {
			v.fail(err)
			_ = c.Close()
			c = nil
			continue
		}
		own = append(own, visit{due, v.now() - due})
	}
	if c != nil {
		_ = c.Close()
	}
	v.mu.Lock()
	v.visits = append(v.visits, own...)
	v.mu.Unlock()
}

// due waits until the next request is due. A moment that this program slept too long is no latency of the proxy's.
func (v *visitors) due() time.Duration {
	if v.rate == 0 {
		return v.now()
	}
	at := time.Duration(v.number.Add(1)) * time.Second / time.Duration(v.rate)
	if wait := at - v.now(); wait > 0 {
		time.Sleep(wait) // the rate of requests is what is asked for
		return v.now()
	}
	return at
}

func (v *visitors) fail(err error) {
	v.failed.Add(1)
	text := err.Error()
	v.first.CompareAndSwap(nil, &text)
	time.Sleep(10 * time.Millisecond) // or visitors of a proxy that refuses take the processor that it needs
}

func (v *visitors) ask(c net.Conn, r *bufio.Reader) error {
	site := rand.IntN(v.hosts)
	request := "GET / HTTP/1.1\r\nHost: " + host(site) + "\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101\r\n" +
		"Accept: text/html,*/*;q=0.8\r\nAccept-Language: en\r\nAccept-Encoding: gzip, deflate, br\r\n"
	if cookie := v.cookies[site].Load(); cookie != nil {
		request += "Cookie: " + *cookie + "\r\n"
	}
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, request+"\r\n"); err != nil {
		return err
	}
	return v.read(r, site)
}

// read takes one answer, and its cookie.
func (v *visitors) read(r *bufio.Reader, site int) error {
	length := 0
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			return fmt.Errorf("the proxy says %q of %s", line, host(site))
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := strings.Cut(string(line), ": ")
		switch strings.ToLower(name) {
		case "content-length":
			length, _ = strconv.Atoi(value)
		case "set-cookie":
			cookie, _, _ := strings.Cut(value, ";")
			v.cookies[site].Store(&cookie)
		}
	}
	_, err := r.Discard(length)
	return err
}

// between are the visits that were due in a stretch of time.
func between(visits []visit, from, to time.Duration) []visit {
	i, _ := slices.BinarySearchFunc(visits, from, func(v visit, at time.Duration) int { return int(v.at - at) })
	j, _ := slices.BinarySearchFunc(visits, to, func(v visit, at time.Duration) int { return int(v.at - at) })
	return visits[i:j]
}

// quantile of the time that visits took, in milliseconds.
func quantile(visits []visit, q float64) float64 {
	took := make([]time.Duration, len(visits))
	for i := range visits {
		took[i] = visits[i].took
	}
	slices.Sort(took)
	if len(took) == 0 {
		return 0
	}
	return took[min(int(q*float64(len(took))), len(took)-1)].Seconds() * 1000
}
