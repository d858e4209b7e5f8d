package loop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"portico/internal/tlstrim"
	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/loop/handshakes"
	"portico/proxy/loop/socket"
	"portico/proxy/wire"
)

// tlsSide is the TLS of one socket. The handshake runs in a goroutine that reads and writes the descriptor and sleeps until the loop
// has seen an event for it; after that, records are read and written in memory by the loop.
type tlsSide struct {
	conn       *tls.Conn
	mem        memConn
	state      tlsState
	serverName string
	closing    bool
	last       int64            // while closing: when to give up what is owed
	owed       exchange.Unacked // while closing
	settled    bool             // conn has nothing for us before more ciphertext comes
	place      handshakes.Place[waiter]
}

type tlsState uint8

const (
	tlsFresh   tlsState = iota // nothing has come yet
	tlsWaiting                 // for its turn to begin the handshake
	tlsShaking                 // a goroutine is at work
	tlsOpen                    // records
)

func newServerSide(l *loop, c *sock, cfg *tls.Config) *tlsSide {
	t := &tlsSide{}
	t.mem.fd = c.fd
	t.mem.remote, t.mem.local = net.TCPAddrFromAddrPort(c.addr), l.srv.opt.Listeners[c.index].Addr()
	t.conn = tls.Server(&t.mem, cfg)
	return t
}

func newClientSide(u *sock, cfg *tls.Config) *tlsSide {
	t := &tlsSide{}
	t.mem.fd, t.mem.strict = u.fd, true
	t.mem.remote, t.mem.local = net.TCPAddrFromAddrPort(u.pool.addr), &net.TCPAddr{}
	t.conn = tls.Client(&t.mem, cfg)
	return t
}

// tlsEvent handles what concerns TLS alone; it reports whether the event goes on to the exchange.
func (l *loop) tlsEvent(s *sock, ev uint32) bool {
	t := s.tls
	switch t.state {
	case tlsFresh:
		if s.ready {
			l.shake(s)
		}
		return false
	case tlsWaiting:
		if s.hup && s.kind == kindClient {
			l.closeClient(s)
		}
		return false
	case tlsShaking:
		t.ping()
		return false
	case tlsOpen:
	}
	if ev&syscall.EPOLLOUT != 0 && t.mem.owes() && (s.s == nil || !s.s.sending) && (s.h2 == nil || !s.h2.sending) {
		before := t.mem.sent
		res := t.mem.flush()
		moved := res == wire.More || t.mem.sent > before
		switch {
		case t.closing && res != wire.Blocked:
			l.closeClient(s)
			return false
		case t.closing && moved:
			l.owing(s)
		case moved && s.h2 != nil:
			l.movedH2(s.h2)
		case moved && s.line != nil:
			l.movedLine(s.line)
		case moved && s.s != nil:
			side := exchange.Up
			if s.kind == kindClient {
				side = exchange.Client
			}
			s.s.x.Now(l.now)
			s.s.x.Took(side)
		}
	}
	return !t.closing
}

// shake begins the handshake, or lets it wait for its turn.
func (l *loop) shake(s *sock) {
	s.tls.place.Who = waiter{l, s, s.gen}
	if !l.shakes(s).Enter(&s.tls.place) {
		s.tls.state = tlsWaiting
		return
	}
	l.shakeNow(s)
}

// shakeNow begins the handshake. It is given up when the socket is closed: a client's at the deadline that was set when it was accepted, an
// upstream's when the exchange has waited long enough for its connection.
func (l *loop) shakeNow(s *sock) {
	t, line := s.tls, l.shakes(s)
	l.handshakes++
	t.state = tlsShaking
	t.mem.shake, t.mem.wake = true, make(chan struct{}, 1)
	gen := s.gen
	l.srv.shakers.Do(func() {
		err := t.conn.Handshake()
		passOn(line)
		l.post(message{kind: messageHandshaken, s: s, gen: gen, err: err})
	})
}

// shook takes a socket back from its handshake.
func (l *loop) shook(s *sock, err error) {
	t := s.tls
	l.handshakes--
	t.state = tlsOpen
	if err == nil && t.mem.quit.Load() {
		err = errGivenUp
	}
	t.mem.shake, t.mem.wake = false, nil
	tlstrim.Trim(t.conn)
	if s.kind == kindUpstream {
		l.shookUpstream(s, err)
		return
	}
	l.shaken.Add(1)
	if err != nil {
		l.badTLS.Add(1)
		t.closing = true
		l.closeClient(s)
		return
	}
	socket.SetOption(s.fd, syscall.IPPROTO_TCP, syscall.TCP_QUICKACK)
	state := t.conn.ConnectionState()
	t.serverName = state.ServerName
	switch state.NegotiatedProtocol {
	case "", "http/1.1":
	case "h2":
		if !l.draining {
			l.beginH2(s)
		}
	default: // a TLS-ALPN-01 challenge: the handshake was all
		l.closeClient(s)
		return
	}
	if l.draining {
		l.closeClient(s)
		return
	}
	s.ready = true // the handshake may have read ahead, or left bytes unread
	l.clientEvent(s, syscall.EPOLLIN)
}

func (l *loop) shookUpstream(u *sock, err error) {
	if u.line != nil {
		l.shookLine(u.line, err)
		return
	}
	s := u.s
	if s == nil || err != nil {
		l.closeUpstream(u)
		if s != nil {
			s.x.Now(l.now)
			s.x.ConnectFailed(account.CauseConnect)
			l.drive(s)
		}
		return
	}
	u.ready = true
	s.x.Now(l.now)
	s.x.Connected(false, 0)
	s.x.Allow(exchange.ReadUpstream)
	l.drive(s)
}

// abort ends a handshake early; shook then finds the socket without an owner.
func (t *tlsSide) abort() {
	t.mem.quit.Store(true)
	t.ping()
}

// ping wakes a handshake that waits for its socket.
func (t *tlsSide) ping() {
	select {
	case t.mem.wake <- struct{}{}:
	default:
	}
}

// readTLS fills b with plaintext. A Read of tls.Conn that finds nothing costs as much as one that finds a record, so none is made
// where the records' lengths say that there is nothing: a request that comes in one record takes one Read.
func (l *loop) readTLS(s *sock, b []byte) (int, wire.Result) {
	t := s.tls
	total, single := 0, false
	for total < len(b) {
		if !t.settled {
			n, err := t.conn.Read(b[total:])
			total += n
			switch {
			case err == nil:
				t.settled = single && n > 0 && total < len(b)
				single = false
				continue
			case !errors.Is(err, errWouldBlock):
				return endTLS(total, err)
			}
			t.settled, single = true, false
		}
		l.unstore(t)
		if !s.ready {
			return total, wire.Blocked
		}
		m, res := l.readPlain(s, l.cipher)
		switch {
		case res == wire.Failed:
			t.mem.broken = true
		case res == wire.EOF:
			t.mem.eof = true
		case m == 0:
			return total, wire.Blocked
		default:
			t.mem.in = l.cipher[:m]
			single = t.mem.cut.Feed(t.mem.in) == 1 && t.mem.cut.Even()
		}
		t.settled = false
	}
	if len(t.mem.in) > 0 && t.mem.store == nil { // the rest must survive what others read into the loop's buffer
		t.mem.store = l.mem.Get(len(t.mem.in))
		t.mem.in = t.mem.store[:copy(t.mem.store, t.mem.in)]
	}
	return total, wire.More
}

// silentTLS is silent for TLS: neither the socket nor the connection above it has anything more, be it the beginning of a record.
func (l *loop) silentTLS(u *sock) bool {
	t := u.tls
	if t.mem.owes() {
		return false
	}
	if u.ready || !t.settled {
		var b [1]byte
		if n, res := l.readTLS(u, b[:]); n > 0 || res != wire.Blocked {
			return false
		}
	}
	return !u.ready && t.settled && t.mem.cut.Even()
}

// unread reports whether a connection that has ended was relayed to an upstream that had read nothing of what was sent since its last byte.
func (s *sock) unread() bool { return s.tls != nil && s.tls.mem.cut.Unread(s.tls.conn) }

// unstore gives the buffer back that ciphertext waited in.
func (l *loop) unstore(t *tlsSide) {
	if t.mem.store != nil {
		l.mem.Put(t.mem.store)
		t.mem.store, t.mem.in = nil, nil
	}
}

// endTLS is what readTLS returns when no more can come. What was read before a failure goes first; the next read fails again.
func endTLS(total int, err error) (int, wire.Result) {
	switch {
	case errors.Is(err, io.EOF):
		return total, wire.EOF
	case total > 0:
		return total, wire.More
	}
	return 0, wire.Failed
}

const (
	// oneRecord is how much plaintext always makes one record: crypto/tls begins with records that fit a segment.
	oneRecord = 1 << 10
	// pieceSize is how much plaintext is encrypted before the socket is asked whether it takes it. It makes one record once crypto/tls
	// makes large ones; as much may be owed to a client that takes nothing.
	pieceSize = 16 << 10
	// writeMost is how much plaintext one call encrypts.
	writeMost = 64 << 10
	// bulkRecord is a record that is written by itself: to copy it behind another one costs more than to enter the kernel again.
	bulkRecord = 8 << 10
)

// writeTLS makes records of what waits, as far as the socket takes the ones before.
func (l *loop) writeTLS(s *sock, a, b []byte) (int, wire.Result) {
	t := s.tls
	if t.mem.owes() {
		if res := t.mem.flush(); res != wire.More {
			return 0, res
		}
	}
	if len(a) > 0 && len(b) > 0 {
		a, b = l.join(a, b)
	}
	t.mem.direct = bulkRecord
	if len(a)+len(b) <= oneRecord {
		t.mem.direct = 1
	}
	n, err := 0, error(nil)
	for n < writeMost && err == nil && !t.mem.owes() {
		if len(a) == 0 {
			a, b = b, nil
		}
		if len(a) == 0 {
			break
		}
		piece := a[:min(len(a), pieceSize)]
		a = a[len(piece):]
		n += len(piece)
		t.mem.more = len(a)+len(b) > 0 && n < writeMost
		_, err = t.conn.Write(piece)
	}
	t.mem.direct = 0
	switch {
	case err != nil:
		return 0, wire.Failed
	case t.mem.owes():
		return n, t.mem.flush()
	}
	return n, wire.More
}

// join copies b behind a, as far as there is room, so that both can be in one record; the rest of b follows.
func (l *loop) join(a, b []byte) (joined, rest []byte) {
	l.plain = append(l.plain[:0], a...)
	k := min(len(b), cap(l.plain)-len(l.plain))
	l.plain = append(l.plain, b[:k]...)
	return l.plain, b[k:]
}

// records makes records of a and returns them for the loop to send; nil: this is not the time for it, or there is more than most. They
// stay owed until the connection is told what the socket took.
func (t *tlsSide) records(a []byte, most int) []byte {
	if t.state != tlsOpen || t.closing || t.mem.owes() || len(a) > most {
		return nil
	}
	if _, err := t.conn.Write(a); err != nil {
		return nil // the next Write fails as well, and says why
	}
	return t.mem.out
}

func (l *loop) shutTLS(s *sock) {
	if s.tls.state == tlsOpen {
		_ = s.tls.conn.CloseWrite()
		s.tls.mem.flush()
	}
}

// closeTLS says good-bye; it reports false while the socket still owes bytes, in which case the close comes later.
func (l *loop) closeTLS(c *sock) bool {
	t := c.tls
	switch t.state {
	case tlsFresh:
		return true
	case tlsWaiting:
		l.shakes(c).Quit(&t.place)
		return true
	case tlsShaking:
		t.abort() // shook closes it
		return false
	case tlsOpen:
	}
	if c.hup && !t.mem.owes() {
		return true
	}
	if !t.closing {
		t.closing = true
		_ = t.conn.Close()
		if t.mem.flush() == wire.Blocked && !l.stop {
			t.last = l.now + lastPatience
			l.owing(c)
			return false
		}
		return true
	}
	return l.stop || !t.mem.owes() || c.deadline <= l.now
}

// lastPatience is for all that a connection is owed when it closes: what a client takes that is as slow as a client may be.
const lastPatience = int64(10*time.Second) + outSize*int64(time.Second)/64
