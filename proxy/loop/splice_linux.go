package loop

import (
	"syscall"

	"portico/proxy/loop/socket"
	"portico/proxy/wire"
)

const (
	pipeSize   = 256 << 10
	spliceMove = 1 | 2 // SPLICE_F_MOVE | SPLICE_F_NONBLOCK
	keptPipes  = 64
)

// pipe carries bytes from one socket to another inside the kernel. It counts them itself: whatever an exchange believes, a pipe that is
// not known to be empty serves nobody else.
type pipe struct {
	r, w  int32
	held  int  // bytes that the kernel put in and has not taken out
	doubt bool // the kernel failed in the middle: held may be wrong
}

func (p *pipe) clean() bool { return p.held == 0 && !p.doubt }

// fill takes up to n bytes from a socket.
func (p *pipe) fill(from *sock, n int) (int, wire.Result) {
	in, res := p.move(from.fd, p.w, n, from)
	p.held += in
	if res == wire.Blocked {
		from.ready = false
	}
	return in, res
}

// empty gives a socket what it takes of what is held.
func (p *pipe) empty(to *sock) (int, wire.Result) {
	want := p.held
	out, res := p.move(p.r, to.fd, want, to)
	p.held -= out
	if out < want && res == wire.More {
		res = wire.Blocked
	}
	return out, res
}

// move is one splice; an error is the socket's.
func (p *pipe) move(from, to int32, n int, s *sock) (int, wire.Result) {
	m, e := spliceCall(from, to, n)
	switch {
	case e != 0:
		p.doubt = p.doubt || e != syscall.EAGAIN
		return 0, s.failed(e)
	case m == 0:
		return 0, wire.EOF
	}
	return m, wire.More
}

func (p *pipe) close() {
	socket.Close(p.r)
	socket.Close(p.w)
}

// splice moves body bytes between two sockets without copying them through the process.
func (l *loop) splice(s *session, down bool) int {
	i, src, dst := 1, s.c, s.u
	if down {
		i, src, dst = 0, s.u, s.c
	}
	left, piped := s.x.SpliceLeft(down)
	if piped == 0 && (src.slot != 0 || src.split) {
		s.x.Splice(0) // the next bytes are not in the socket any more, or splice does not get past urgent data
		return 1
	}
	if p := s.pipes[i]; p != nil && piped == 0 && !p.clean() {
		l.freePipe(s, i) // it has bytes of a body that was given up
	}
	p := l.pipeOf(s, i)
	if p == nil {
		s.x.Splice(0) // no descriptors for it: copy
		return 1
	}
	in, srcRes := 0, wire.More
	if left > 0 && p.held == 0 {
		in, srcRes = p.fill(src, int(min(left, pipeSize)))
	}
	out, dstRes := 0, wire.More
	if p.held > 0 {
		out, dstRes = p.empty(dst)
	}
	s.x.Spliced(down, in, out, srcRes, dstRes)
	if p.clean() && int64(in) == left {
		l.freePipe(s, i)
	}
	return in + 1
}

func spliceCall(from, to int32, n int) (int, syscall.Errno) {
	for {
		m, _, e := syscall.RawSyscall6(syscall.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), spliceMove)
		switch e {
		case 0:
			return int(m), 0
		case syscall.EINTR:
		default:
			return 0, e
		}
	}
}

func (l *loop) pipeOf(s *session, i int) *pipe {
	if s.pipes[i] != nil {
		return s.pipes[i]
	}
	if n := len(l.pipes); n > 0 {
		s.pipes[i], l.pipes = l.pipes[n-1], l.pipes[:n-1]
		return s.pipes[i]
	}
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		l.srv.files.Out(err)
		return nil
	}
	if !l.srv.files.Keep(uintptr(fds[1])) { // the higher one
		socket.Close(int32(fds[0]))
		socket.Close(int32(fds[1]))
		return nil
	}
	const setPipeSize = 1031
	_, _, _ = syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fds[1]), setPipeSize, pipeSize)
	s.pipes[i] = &pipe{r: int32(fds[0]), w: int32(fds[1])}
	return s.pipes[i]
}

// freePipe keeps an empty pipe for others; any other is closed, so that its bytes reach nobody.
func (l *loop) freePipe(s *session, i int) {
	p := s.pipes[i]
	if p == nil {
		return
	}
	s.pipes[i] = nil
	if p.clean() && len(l.pipes) < keptPipes {
		l.pipes = append(l.pipes, p)
		return
	}
	p.close()
}
