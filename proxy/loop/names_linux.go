package loop

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"portico/proxy/exchange/account"
)

// question is one look-up of an upstream's name, for one attempt of one exchange. The session that asked points to it for as long as
// that attempt waits; nothing else ever has the same pointer. So an answer that comes late finds nobody, whatever the session, or the
// client that it serves by then, is waiting for.
type question struct {
	s     *session
	p     *pool // of the upstream that was asked about
	addrs []netip.AddrPort
	err   error
}

// ask looks the name of a pool's upstream up in a goroutine; the answer comes through the inbox.
func (l *loop) ask(s *session, p *pool) {
	q := &question{s: s, p: p}
	s.asked = q
	p.users++
	l.srv.helpers.Go(func() {
		ctx, cancel := context.WithTimeout(l.srv.ctx, 5*time.Second)
		defer cancel()
		q.addrs, q.err = lookup(ctx, q.p.up.Addr)
		l.post(message{kind: messageResolved, asked: q})
	})
}

// resolved goes on with the attempt that asked, if it still waits.
func (l *loop) resolved(q *question) {
	s := q.s
	q.p.users--
	if s.asked != q {
		return
	}
	s.asked = nil
	if !s.x.Connecting() {
		return
	}
	s.x.Now(l.now)
	if q.err != nil {
		s.x.ConnectFailed(account.CauseConnect)
	} else if q.p.up.HTTP2 {
		l.connectCall(s, q.p, q.addrs[0])
	} else {
		l.dial(s, q.p, q.addrs[0])
	}
	if !s.queued {
		l.drive(s)
	}
}

var errNoAddress = errors.New("name has no address")

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
