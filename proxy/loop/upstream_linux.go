package loop

import (
	"net/netip"
	"syscall"

	"portico/internal/descriptors"
	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/http1"
	"portico/proxy/loop/socket"
)

// connect finds a session a connection to its upstream: an idle one, else a new one. What the attempt before waited for concerns nobody
// any more.
func (l *loop) connect(s *session) {
	s.asked = nil
	l.unwait(s)
	if s.u != nil {
		l.closeUpstream(s.u)
	}
	up := s.x.Upstream()
	if up.Killed() {
		s.x.ConnectFailed(account.CauseConnect)
		return
	}
	p := l.pool(up)
	if up.HTTP2 {
		l.connectCall(s, p, p.addr)
		return
	}
	if s.x.Mine() {
		l.reclaim(s, p)
		return
	}
	if !s.x.Fresh() {
		if u := p.get(); u != nil {
			s.u, u.s = u, s
			s.x.Connected(true, l.splices(s))
			return
		}
	}
	if !p.addr.IsValid() {
		l.ask(s, p)
		return
	}
	l.dial(s, p, p.addr)
}

func (l *loop) dial(s *session, p *pool, addr netip.AddrPort) {
	u, why := l.newUpstream(p, addr)
	if u == nil {
		s.x.ConnectFailed(why)
		return
	}
	s.u, u.s = u, s
}

// newUpstream begins to make a connection.
func (l *loop) newUpstream(p *pool, addr netip.AddrPort) (*sock, account.Cause) {
	l.work += connectWork
	fd, err := l.srv.dial(addr)
	switch {
	case err == nil:
	case l.srv.files.Out(err):
		l.shed()
		return nil, account.CauseBusy
	default:
		return nil, account.CauseConnect
	}
	u := &sock{fd: fd, kind: kindUpstream, pool: p, connecting: true}
	if err := l.register(u, socketEvents); err != nil {
		socket.Close(fd)
		return nil, account.CauseConnect
	}
	l.upstreams.Add(1)
	p.users++
	p.up.Count(1)
	return u, account.CauseNone
}

// connected: the kernel has decided about a connection.
func (l *loop) connected(s *session, u *sock) {
	u.connecting = false
	if err := socket.Error(u.fd); err != nil {
		l.closeUpstream(u)
		s.x.ConnectFailed(account.CauseConnect)
		return
	}
	if v := u.pool.up.SendProxy; v != 0 {
		var b [128]byte
		peer := s.x.Peer()
		socket.Write(u.fd, http1.AppendProxy(b[:0], v, peer.Addr, peer.Local)) // a new socket has room for it
	}
	if cfg := u.pool.up.TLS; cfg != nil {
		u.tls = newClientSide(u, cfg)
		l.shake(u)
		return
	}
	s.x.Connected(false, l.splices(s))
}

// dropHalf closes a connection that is still being made when the attempt that it was for is over.
func (l *loop) dropHalf(s *session) {
	if s.x.Connecting() {
		return
	}
	l.unwait(s)
	if u := s.u; u != nil && u.half() {
		l.closeUpstream(u)
	}
}

// half reports whether an upstream's connection is still being made.
func (s *sock) half() bool { return s.connecting || s.tls != nil && s.tls.state != tlsOpen }

// splices says which bodies the kernel can move: those between two plain sockets.
func (l *loop) splices(s *session) exchange.Ready {
	if s.c.tls != nil || s.u.tls != nil || s.c.kind == kindStream {
		return 0
	}
	return exchange.ReadUpstream | exchange.WriteUpstream
}

func (l *loop) closeUpstream(u *sock) {
	switch {
	case u.kind == kindCall:
		l.endCall(u.s)
	case u.line != nil:
		l.closeLine(u.line)
	default:
		l.closeSocket(u)
	}
}

// closeSocket closes the connection itself.
func (l *loop) closeSocket(u *sock) {
	l.work += closeWork
	if u.s != nil {
		u.s.u = nil
		u.s = nil
	}
	if u.pool.has(u) {
		u.pool.unlink(u)
	}
	if u.owner != nil {
		l.ended(u)
	}
	if u.tls != nil && u.tls.state == tlsWaiting {
		l.shakes(u).Quit(&u.tls.place)
	}
	if u.tls != nil && u.tls.state == tlsShaking {
		u.tls.abort() // its goroutine still uses the descriptor
		return
	}
	if u.tls != nil {
		l.unstore(u.tls)
	}
	l.forget(u)
	socket.Close(u.fd)
	l.upstreams.Add(-1)
	u.pool.users--
	u.pool.up.Count(-1)
}

// dial begins a connection and returns its descriptor.
func (srv *server) dial(a netip.AddrPort) (int32, error) {
	fd, err := syscall.Socket(socket.Family(a), syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if !srv.files.Keep(uintptr(fd)) {
		socket.Close(int32(fd))
		return -1, descriptors.ErrKept
	}
	socket.SetOption(int32(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY)
	for {
		switch e := socket.Connect(int32(fd), a); e {
		case 0, syscall.EINPROGRESS:
			return int32(fd), nil
		case syscall.EINTR:
		default:
			socket.Close(int32(fd))
			return -1, e
		}
	}
}
