package main

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"syscall"
)

// origin is an application server that costs next to nothing: one epoll loop, answers made beforehand. It understands just enough of
// HTTP: the first letters of the path choose the answer, a body is counted and thrown away, an upgrade makes it an echo.
type origin struct {
	ep    int
	conns map[int]*originConn
	buf   []byte
}

type originConn struct {
	left int    // of a body
	part []byte // of a head
	echo bool
	out  []byte // not yet written
}

var answers = map[string][]byte{
	"s": answerOf(128), "k": answerOf(16 << 10), "m": answerOf(1 << 20),
}

func answerOf(n int) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sun, 22 Nov 2026 00:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n", n)
	return append([]byte(head), bytes.Repeat([]byte("x"), n)...)
}

func runOrigin(args []string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:"+args[0])
	if err != nil {
		return err
	}
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	o := &origin{conns: map[int]*originConn{}, buf: make([]byte, 256<<10)}
	if o.ep, err = syscall.EpollCreate1(0); err != nil {
		return err
	}
	lfd := int(f.Fd())
	_ = syscall.SetNonblock(lfd, true)
	if err := syscall.EpollCtl(o.ep, syscall.EPOLL_CTL_ADD, lfd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(lfd)}); err != nil {
		return err
	}
	defer func() { runtime.KeepAlive(f) }() // its finalizer would close the socket
	fmt.Println("ready")
	var evs [256]syscall.EpollEvent
	for {
		n, err := syscall.EpollWait(o.ep, evs[:], -1)
		if err != nil && err != syscall.EINTR {
			return err
		}
		for i := range max(n, 0) {
			fd := int(evs[i].Fd)
			if fd == lfd {
				o.accept(lfd)
				continue
			}
			o.event(fd, evs[i].Events)
		}
	}
}

func (o *origin) accept(lfd int) {
	for {
		fd, _, err := syscall.Accept4(lfd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		o.conns[fd] = &originConn{}
		_ = syscall.EpollCtl(o.ep, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLOUT | 1<<31, Fd: int32(fd)})
	}
}

func (o *origin) event(fd int, _ uint32) {
	c := o.conns[fd]
	if c == nil {
		return
	}
	if len(c.out) > 0 && !o.flush(fd, c) {
		return
	}
	for {
		n, err := syscall.Read(fd, o.buf)
		if err == syscall.EAGAIN {
			return
		}
		if err != nil || n == 0 {
			delete(o.conns, fd)
			_ = syscall.Close(fd)
			return
		}
		o.feed(fd, c, o.buf[:n])
		if n < len(o.buf) {
			return
		}
	}
}

func (o *origin) feed(fd int, c *originConn, b []byte) {
	if c.echo {
		o.send(fd, c, b)
		return
	}
	if len(c.part) > 0 {
		b = append(c.part, b...)
		c.part = nil
	}
	for len(b) > 0 {
		if c.left > 0 {
			k := min(c.left, len(b))
			c.left -= k
			b = b[k:]
			if c.left == 0 {
				o.send(fd, c, answers["s"])
			}
			continue
		}
		i := bytes.Index(b, []byte("\r\n\r\n"))
		if i < 0 {
			c.part = append([]byte(nil), b...)
			return
		}
		head := b[:i+2]
		b = b[i+4:]
		o.request(fd, c, head)
	}
}

func (o *origin) request(fd int, c *originConn, head []byte) {
	slash := bytes.IndexByte(head, '/')
	if bytes.Contains(head, []byte("\r\nUpgrade: websocket")) {
		c.echo = true
		o.send(fd, c, []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"))
		return
	}
	if head[0] == 'P' {
		if c.left = lengthIn(head); c.left > 0 {
			return
		}
	}
	a, ok := answers[string(head[slash+1:slash+2])]
	if !ok {
		a = answers["s"]
	}
	o.send(fd, c, a)
}

func (o *origin) send(fd int, c *originConn, b []byte) {
	if len(c.out) > 0 {
		c.out = append(append([]byte(nil), c.out...), b...)
		return
	}
	n, err := syscall.Write(fd, b)
	if err != nil {
		n = 0
	}
	if n < len(b) {
		c.out = b[n:]
		if c.echo {
			c.out = append([]byte(nil), c.out...)
		}
	}
}

func (o *origin) flush(fd int, c *originConn) bool {
	n, err := syscall.Write(fd, c.out)
	if err != nil && err != syscall.EAGAIN {
		delete(o.conns, fd)
		_ = syscall.Close(fd)
		return false
	}
	c.out = c.out[max(n, 0):]
	return len(c.out) == 0
}
