package loop

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"portico/proxy/http1"
)

// pool holds one loop's idle connections to one upstream, the most recently used first.
type pool struct {
	l       *loop
	up      *http1.Upstream
	addr    netip.AddrPort // invalid: a name
	first   *sock
	last    *sock
	idle    int
	maxIdle int
	idleFor int64
	used    int64
}

func (l *loop) pool(up *http1.Upstream) *pool {
	p := l.pools[up]
	if p == nil {
		p = &pool{l: l, up: up, maxIdle: up.MaxIdle, idleFor: int64(up.IdleFor)}
		if p.maxIdle == 0 {
			p.maxIdle = 64
		}
		if p.idleFor == 0 {
			p.idleFor = int64(30 * time.Second)
		}
		p.addr, _ = netip.ParseAddrPort(up.Addr)
		l.pools[up] = p
	}
	p.used = l.now
	return p
}

func (p *pool) get() *sock {
	u := p.first
	if u != nil {
		p.unlink(u)
	}
	return u
}

// put takes a connection back; it must have nothing left to say.
func (p *pool) put(u *sock) {
	if u.hup || u.slot != 0 || p.up.Retired() || p.up.SendProxy != 0 || p.l.draining || p.maxIdle < 0 {
		p.l.closeUpstream(u)
		return
	}
	if p.idle >= p.maxIdle {
		p.l.closeUpstream(p.last)
	}
	u.deadline = p.l.now + p.idleFor
	u.idleNext = p.first
	if p.first != nil {
		p.first.idlePrev = u
	} else {
		p.last = u
	}
	p.first = u
	p.idle++
}

func (p *pool) has(u *sock) bool { return u.idlePrev != nil || p.first == u }

func (p *pool) unlink(u *sock) {
	if u.idlePrev != nil {
		u.idlePrev.idleNext = u.idleNext
	} else {
		p.first = u.idleNext
	}
	if u.idleNext != nil {
		u.idleNext.idlePrev = u.idlePrev
	} else {
		p.last = u.idlePrev
	}
	u.idlePrev, u.idleNext = nil, nil
	p.idle--
}

// age closes connections that were idle for too long, whose upstream is retired or whose descriptors are needed, and drops pools that
// have not been used for long. It reports whether it had the time to see all.
func (l *loop) age() bool {
	for up, p := range l.pools {
		if up.Killed() && !l.cut(p) {
			return false
		}
		for p.last != nil && (p.last.deadline <= l.now || up.Retired() || l.shedding) {
			if l.late() {
				return false
			}
			l.work += closeWork
			l.closeUpstream(p.last)
		}
		if p.idle == 0 && (up.Retired() || l.now-p.used > int64(10*time.Minute)) {
			delete(l.pools, up)
		}
	}
	l.shedding = false
	return true
}

// cut breaks every connection of a pool whose upstream is no longer trusted; it reports whether it had the time to see all.
func (l *loop) cut(p *pool) bool {
	for _, u := range l.socks {
		if u == nil || u.kind != kindUpstream || u.pool != p {
			continue
		}
		if l.late() {
			return false
		}
		l.work += closeWork
		s := u.s
		if s == nil {
			l.closeUpstream(u)
			continue
		}
		s.x.Now(l.now)
		s.x.Read(http1.Up, 0, http1.Failed)
		if !s.queued {
			l.drive(s)
		}
	}
	return true
}

var errNoAddress = errors.New("name has no address")

// resolve looks a name up in a goroutine; the answer comes through the inbox.
func (l *loop) resolve(s *session, addr string) {
	s.turn++
	turn := s.turn
	l.srv.helpers.Go(func() {
		ctx, cancel := context.WithTimeout(l.srv.ctx, 5*time.Second)
		defer cancel()
		m := message{what: whatResolved, sess: s, turn: turn}
		m.addrs, m.err = lookup(ctx, addr)
		l.post(m)
	})
}

func lookup(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, ip := range ips {
		if ip.Unmap().Is4() { // IPv4 first, as names of development machines often have an IPv6 address that nobody listens on
			out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(n)))
		}
	}
	for _, ip := range ips {
		if !ip.Unmap().Is4() {
			out = append(out, netip.AddrPortFrom(ip, uint16(n)))
		}
	}
	if len(out) == 0 {
		return nil, errNoAddress
	}
	return out, nil
}
