package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"syscall"
	"time"
)

// Each instance has an address of its own, which numbers it and its site.
const (
	maxSites     = 60000
	maxInstances = 100
)

// origin answers for all instances: it listens at every address of loopback, and nowhere else.
type origin struct {
	l    net.Listener
	port int
}

func startOrigin() (*origin, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = syscall.BindToDevice(int(fd), "lo") }); cerr != nil {
			return cerr
		}
		return err
	}}
	l, err := lc.Listen(context.Background(), "tcp4", "0.0.0.0:0")
	if err != nil {
		return nil, fmt.Errorf("listen on loopback: %w", err)
	}
	o := &origin{l: l, port: l.Addr().(*net.TCPAddr).Port}
	go o.accept()
	return o, nil
}

func (o *origin) close() { _ = o.l.Close() }

// addr is where an instance of a site is.
func (o *origin) addr(site, instance int) string {
	return fmt.Sprintf("127.%d.%d.%d:%d", 1+instance, site>>8, site&255, o.port)
}

func (o *origin) accept() {
	for {
		c, err := o.l.Accept()
		if err != nil {
			return
		}
		go answer(c)
	}
}

var response = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 128\r\n\r\n%s", bytes.Repeat([]byte("x"), 128))

// answer serves requests without a body until the connection ends, or nothing came for so long that it was forgotten.
func answer(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 1024)
	for {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		last := false
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			last = last || bytes.EqualFold(line, []byte("connection: close\r\n"))
			if len(line) <= 2 {
				break
			}
		}
		if _, err := c.Write(response); err != nil || last {
			return
		}
	}
}
