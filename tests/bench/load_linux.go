package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/bits"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// loadReport is what a load generator says about one run.
type loadReport struct {
	Requests int      `json:"requests"`
	Errors   int      `json:"errors"`
	Seconds  float64  `json:"seconds"`
	P50      float64  `json:"p50"` // microseconds
	P99      float64  `json:"p99"`
	P999     float64  `json:"p999"`
	CPU      float64  `json:"cpu"` // its own, microseconds a request
	First    string   `json:"first"`
	Buckets  [][2]int `json:"buckets"` // of the latencies: index and count of those that are not empty
}

// histogram of nanoseconds: 64 buckets for each doubling, so that a quantile is known to 1.5 %.
type histogram [64 * 64]uint32

func (h *histogram) add(ns int64) {
	e := max(bits.Len64(uint64(ns))-7, 0)
	h[e*64+int(ns>>e)]++
}

// filled lists the buckets that are not empty.
func (h *histogram) filled() (list [][2]int) {
	for i, n := range h {
		if n > 0 {
			list = append(list, [2]int{i, int(n)})
		}
	}
	return list
}

func (h *histogram) quantile(q float64) float64 {
	total := 0
	for _, n := range h {
		total += int(n)
	}
	left := int(q * float64(total))
	for i, n := range h {
		if left -= int(n); left < 0 {
			e := max(i/64-1, 0)
			return float64(int64(i-e*64)<<e) / 1000
		}
	}
	return 0
}

type load struct {
	addr, host, path, mode string
	conns, streams, body   int
	pace                   pace
	warm, time             time.Duration

	request []byte
	ep      int
	list    []*loadConn
	byFD    map[int]*loadConn
	buf     []byte
	h       histogram
	count   int
	errors  int
	on      bool
	first   string
}

// loadConn sends a request, waits for the whole answer, and sends the next.
type loadConn struct {
	fd      int
	request []byte
	sent    int
	left    int // bytes of the answer still to come; -1: its head is not complete
	head    []byte
	began   int64
	open    bool // upgraded
}

func runLoad(args []string) error {
	l := &load{byFD: map[int]*loadConn{}, buf: make([]byte, 256<<10)}
	f := flag.NewFlagSet("load", flag.ExitOnError)
	f.StringVar(&l.addr, "addr", "", "")
	f.StringVar(&l.host, "host", "small.test", "")
	f.StringVar(&l.path, "path", "/s", "")
	f.StringVar(&l.mode, "mode", "http", "")
	f.IntVar(&l.conns, "conns", 64, "")
	f.IntVar(&l.streams, "streams", 8, "on each connection of HTTP/2")
	f.IntVar(&l.body, "body", 0, "")
	f.IntVar(&l.pace.rate, "rate", 0, "requests a second, however long the answers take; 0: each connection sends its next request when it has its answer")
	f.DurationVar(&l.warm, "warm", 200*time.Millisecond, "")
	f.DurationVar(&l.time, "time", time.Second, "")
	_ = f.Parse(args)
	l.request = l.make("")
	switch l.mode {
	case "tls", "tlsnew", "tlsresume":
		return l.runTLS()
	case "h2":
		return l.runH2()
	case "h2new":
		return l.runH2New()
	case "h2idle":
		return l.runH2Idle()
	case "idle":
		return l.runIdle()
	}
	return l.run()
}

// make is a request of about 230 bytes, as browsers' are larger and health checks' smaller.
func (l *load) make(cookie string) []byte {
	var b bytes.Buffer
	if l.mode == "ws" {
		fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", l.path, l.host)
		return b.Bytes()
	}
	method := "GET"
	if l.body > 0 {
		method = "POST"
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101\r\nAccept: text/html,*/*;q=0.8\r\nAccept-Language: en\r\nAccept-Encoding: gzip, deflate, br\r\n", method, l.path, l.host)
	if cookie != "" {
		fmt.Fprintf(&b, "Cookie: %s\r\n", cookie)
	}
	if l.body > 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", l.body)
		b.Write(bytes.Repeat([]byte("y"), l.body))
		return b.Bytes()
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

func (l *load) dial() (*loadConn, error) {
	host, port, _ := net.SplitHostPort(l.addr)
	n, _ := strconv.Atoi(port)
	sa := &syscall.SockaddrInet4{Port: n}
	copy(sa.Addr[:], net.ParseIP(host).To4())
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Connect(fd, sa); err != nil {
		_ = syscall.Close(fd)
		return nil, err
	}
	_ = syscall.SetNonblock(fd, true)
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	// Ends with a reset: sockets in TIME_WAIT would use the ports up, and slow every connect down, over a few runs.
	_ = syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	c := &loadConn{fd: fd, request: l.request, left: -1}
	l.byFD[fd] = c
	return c, syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLOUT | 1<<31, Fd: int32(fd)})
}

func (l *load) run() error {
	var err error
	if l.ep, err = syscall.EpollCreate1(0); err != nil {
		return err
	}
	for range l.conns {
		c, err := l.dial()
		if err != nil {
			return err
		}
		l.list = append(l.list, c)
	}
	start := time.Now()
	if l.pace.rate > 0 {
		l.pace.begin(l.list)
	} else {
		for _, c := range l.list {
			l.send(c)
		}
	}
	var evs [256]syscall.EpollEvent
	end := start.Add(l.warm)
	var cpu int64
	for {
		n, err := l.wait(evs[:])
		if err != nil && err != syscall.EINTR {
			return err
		}
		for i := range max(n, 0) {
			if c := l.byFD[int(evs[i].Fd)]; c != nil {
				l.event(c)
			}
		}
		now := time.Now()
		if now.Before(end) {
			continue
		}
		if l.on {
			return l.report(now.Sub(start), cpu)
		}
		l.on, l.count, l.errors = true, 0, 0
		start, end, cpu = now, now.Add(l.time), cpuSelf()
		fmt.Println("begin")
	}
}

func (l *load) report(took time.Duration, cpu int64) error {
	fmt.Println("end")
	r := loadReport{
		Requests: l.count, Errors: l.errors, Seconds: took.Seconds(), P50: l.h.quantile(.5), P99: l.h.quantile(.99), P999: l.h.quantile(.999),
		CPU: float64(cpuSelf()-cpu) / 1000 / float64(max(l.count, 1)), First: l.first, Buckets: l.h.filled(),
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func nano() int64 { return time.Now().UnixNano() }

func (l *load) send(c *loadConn) {
	c.began, c.sent, c.left = nano(), 0, -1
	l.push(c)
}

func (l *load) push(c *loadConn) {
	n, err := syscall.Write(c.fd, c.request[c.sent:])
	if err == nil {
		c.sent += n
	} else if err != syscall.EAGAIN {
		l.fail(c)
	}
}

// fail replaces a broken connection.
func (l *load) fail(c *loadConn) {
	l.errors++
	if l.first == "" {
		l.first = string(c.head)
	}
	delete(l.byFD, c.fd)
	_ = syscall.Close(c.fd)
	if l.errors > 10000 {
		return
	}
	if d, err := l.dial(); err == nil {
		if l.pace.rate > 0 {
			l.pace.idle = append(l.pace.idle, d)
			return
		}
		l.send(d)
	}
}

func (l *load) event(c *loadConn) {
	if c.sent < len(c.request) {
		l.push(c)
	}
	for {
		n, err := syscall.Read(c.fd, l.buf)
		if err == syscall.EAGAIN || err == syscall.EINTR {
			return
		}
		if err != nil || n == 0 {
			l.fail(c)
			return
		}
		if !l.take(c, l.buf[:n]) || n < len(l.buf) {
			return
		}
	}
}

// take consumes bytes of an answer; false: the connection was replaced.
func (l *load) take(c *loadConn, b []byte) bool {
	if c.open {
		if c.left -= len(b); c.left <= 0 {
			l.done(c)
			c.left = len(c.request)
		}
		return true
	}
	if c.left < 0 {
		if len(c.head) > 0 {
			b = append(c.head, b...)
		}
		i := bytes.Index(b, []byte("\r\n\r\n"))
		if i < 0 {
			c.head = append(c.head[:0], b...)
			return true
		}
		head := b[:i+2]
		c.head = c.head[:0]
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) && !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
			c.head = append(c.head, b...)
			l.fail(c)
			return false
		}
		if head[9] == '1' {
			c.open, c.request = true, append([]byte{0x82, 0xc0}, bytes.Repeat([]byte("w"), 68)...)
			c.left = len(c.request)
			l.done(c)
			c.left = len(c.request)
			return true
		}
		c.left = lengthIn(head)
		if j := bytes.Index(head, []byte("Set-Cookie: ")); j >= 0 {
			v, _, _ := strings.Cut(string(head[j+12:]), ";")
			c.request = l.make(v)
		}
		b = b[i+4:]
	}
	if c.left -= len(b); c.left <= 0 {
		l.done(c)
	}
	return true
}

func lengthIn(head []byte) int {
	for _, name := range []string{"Content-Length: ", "content-length: "} {
		if j := bytes.Index(head, []byte(name)); j >= 0 {
			rest := head[j+16:]
			n, _ := strconv.Atoi(string(rest[:bytes.IndexByte(rest, '\r')]))
			return n
		}
	}
	return 0
}

func (l *load) done(c *loadConn) {
	if l.on {
		l.h.add(nano() - c.began)
		l.count++
	}
	if l.pace.rate > 0 && !c.open {
		l.pace.idle = append(l.pace.idle, c)
		return
	}
	l.send(c)
}

// runTLS uses the standard library, a goroutine for each connection: cheap enough, because the proxy does the same work twice.
func (l *load) runTLS() error {
	// One key exchange for all: OpenSSL before 3.5 has no ML-KEM, which Go would choose with us, and pay for, alone.
	cfg := &tls.Config{InsecureSkipVerify: true, ServerName: l.host, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}} // a benchmark's own server
	if l.mode == "tlsresume" {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(64)
	}
	var count, errs atomic.Int64
	var on, stop atomic.Bool
	var mu sync.Mutex
	var wg sync.WaitGroup
	if l.mode != "tls" {
		l.conns = min(l.conns, 16)
	}
	for range l.conns {
		wg.Go(func() {
			var h histogram
			var c *tls.Conn
			buf := make([]byte, 32<<10)
			for !stop.Load() {
				began := nano()
				if c == nil || l.mode != "tls" {
					raw, err := net.Dial("tcp", l.addr)
					if err != nil {
						errs.Add(1)
						continue
					}
					c = tls.Client(raw, cfg)
				}
				if err := l.roundTrip(c, buf); err != nil {
					errs.Add(1)
					_ = c.Close()
					c = nil
					continue
				}
				resumed := c.ConnectionState().DidResume
				if l.mode != "tls" {
					_ = c.NetConn().(*net.TCPConn).SetLinger(0) // no TIME_WAIT: there are not ports enough
					_ = c.NetConn().Close()
					c = nil
				}
				if on.Load() {
					h.add(nano() - began)
					count.Add(1)
					if cfg.ClientSessionCache != nil && !resumed {
						errs.Add(1)
					}
				}
			}
			if c != nil {
				_ = c.Close()
			}
			mu.Lock()
			for i, n := range h {
				l.h[i] += n
			}
			mu.Unlock()
		})
	}
	return l.timed(&on, &stop, func() {
		wg.Wait()
		l.count, l.errors = int(count.Load()), int(errs.Load())
	})
}

// timed lets goroutines work: on while they are measured, until stop, then end waits for them and adds up what they counted.
func (l *load) timed(on, stop *atomic.Bool, end func()) error {
	time.Sleep(l.warm)
	on.Store(true)
	fmt.Println("begin")
	start, cpu := time.Now(), cpuSelf()
	time.Sleep(l.time)
	on.Store(false)
	took := time.Since(start)
	fmt.Println("end")
	cpu = cpuSelf() - cpu
	stop.Store(true)
	end()
	return json.NewEncoder(os.Stdout).Encode(loadReport{
		Requests: l.count, Errors: l.errors, Seconds: took.Seconds(), P50: l.h.quantile(.5), P99: l.h.quantile(.99), P999: l.h.quantile(.999),
		CPU: float64(cpu) / 1000 / float64(max(l.count, 1)), First: l.first, Buckets: l.h.filled(),
	})
}

func (l *load) roundTrip(c *tls.Conn, buf []byte) error {
	if _, err := c.Write(l.request); err != nil {
		return err
	}
	have, need := 0, -1
	for need < 0 || have < need {
		n, err := c.Read(buf[min(have, len(buf)-4096):])
		if err != nil {
			return err
		}
		have += n
		if need < 0 {
			if i := bytes.Index(buf[:have], []byte("\r\n\r\n")); i >= 0 {
				if !bytes.HasPrefix(buf, []byte("HTTP/1.1 200")) {
					return io.ErrUnexpectedEOF
				}
				need = i + 4 + lengthIn(buf[:i+2])
			}
		}
	}
	return nil
}

// runIdle opens connections, uses each once, and keeps them until its input closes.
func (l *load) runIdle() error {
	var err error
	if l.ep, err = syscall.EpollCreate1(0); err != nil {
		return err
	}
	open := 0
	for range l.conns {
		c, err := l.dial()
		if err != nil {
			break
		}
		_ = syscall.SetNonblock(c.fd, false)
		_ = syscall.SetsockoptTimeval(c.fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: 5}) // a limit of the proxy's
		if _, err := syscall.Write(c.fd, l.request); err != nil {
			break
		}
		if n, err := syscall.Read(c.fd, l.buf); err != nil || n == 0 {
			break
		}
		open++
	}
	fmt.Println("open", open)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

func cpuSelf() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
