package loop

import (
	"syscall"

	"portico/proxy/http1"
)

const (
	pipeSize   = 256 << 10
	spliceMove = 1 | 2 // SPLICE_F_MOVE | SPLICE_F_NONBLOCK
	keptPipes  = 64
)

// splice moves body bytes between two sockets without copying them through the process.
func (l *loop) splice(s *session, down bool) int {
	i, src, dst := 1, s.c, s.u
	if down {
		i, src, dst = 0, s.u, s.c
	}
	if src.slot != 0 {
		s.x.Splice(0) // the next bytes are not in the socket any more
		return 1
	}
	p := l.pipeOf(s, i)
	left, piped := s.x.SpliceLeft(down)
	if p == nil {
		s.x.Splice(0) // no descriptors for it: copy
		return 1
	}
	in, srcRes := 0, http1.More
	if left > 0 && piped == 0 {
		in, srcRes = spliceCall(src.fd, p.w, int(min(left, pipeSize)))
		if srcRes == http1.Blocked {
			src.ready = false
		}
	}
	out, dstRes := 0, http1.More
	if piped+in > 0 {
		out, dstRes = spliceCall(p.r, dst.fd, piped+in)
		if out < piped+in && dstRes == http1.More {
			dstRes = http1.Blocked
		}
	}
	s.x.Spliced(down, in, out, srcRes, dstRes)
	if piped+in == out && (int64(in) == left || dstRes == http1.Failed) {
		l.freePipe(s, i)
	}
	return in + 1
}

func spliceCall(from, to int32, n int) (int, http1.Result) {
	for {
		m, _, e := syscall.RawSyscall6(syscall.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), spliceMove)
		switch e {
		case 0:
			if m == 0 {
				return 0, http1.EOF
			}
			return int(m), http1.More
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, http1.Blocked
		default:
			return 0, http1.Failed
		}
	}
}

func (l *loop) pipeOf(s *session, i int) *pipe {
	if s.pipes[i] != nil {
		return s.pipes[i]
	}
	if n := len(l.pipes); n > 0 {
		fds := l.pipes[n-1]
		l.pipes = l.pipes[:n-1]
		s.pipes[i] = &pipe{fds[0], fds[1]}
		return s.pipes[i]
	}
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		return nil
	}
	const setPipeSize = 1031
	_, _, _ = syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fds[1]), setPipeSize, pipeSize)
	s.pipes[i] = &pipe{int32(fds[0]), int32(fds[1])}
	return s.pipes[i]
}

// freePipe keeps an empty pipe for others; one with bytes in it is closed, so that they reach nobody.
func (l *loop) freePipe(s *session, i int) {
	p := s.pipes[i]
	if p == nil {
		return
	}
	s.pipes[i] = nil
	_, piped := s.x.SpliceLeft(i == 0)
	if piped == 0 && len(l.pipes) < keptPipes {
		l.pipes = append(l.pipes, [2]int32{p.r, p.w})
		return
	}
	closeFD(p.r)
	closeFD(p.w)
}
