package conn

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"portico/internal/linked"
	"portico/proxy/http2"
	"portico/proxy/wire"
)

const (
	// What is encrypted and sent at a time; a buffer of the memory's holds it with what TLS adds.
	sendMost = 32 << 10
	// So often a goroutine that has a stream to serve sends what it finds before it leaves the rest to one that only sends.
	sendOften = 4
)

// mux is a client's connection that carries many requests at a time, each on a stream. The connection's own goroutine reads and never
// writes. Each stream has a goroutine that runs its exchange. Who has something to send sends all that there is, unless another one is
// at it: then that one takes it along.
type mux struct {
	c      *client
	line   *line           // what it is, where the other end is an upstream; nil: a client
	sendFn func()          // sendOn, made once
	raw    syscall.RawConn // to wait for the connection; nil: it cannot be done

	mu       sync.Mutex // guards all below, and the lanes' parts that say so
	turn     sync.Cond  // something was sent, or a stream has ended
	h2       http2.Conn
	served   linked.List[streamed]
	count    int    // of them
	answered bool   // one has been
	sending  bool   // somebody sends
	moves    uint64 // how often the client has taken something
	holds    bool   // the reader waits with a buffer
	armed    int64  // the read deadline that is set, 0: none
	expired  bool   // it has passed
	over     bool   // nothing is read any more
	gone     bool   // the client is
}

// serveMux serves a connection on which HTTP/2 was agreed.
func (c *client) serveMux() {
	defer c.left()
	m := &mux{c: c}
	m.turn.L = &m.mu
	m.sendFn = m.sendOn
	if t, ok := c.base.(*net.TCPConn); ok && c.srv.raw {
		m.raw, _ = t.SyscallConn()
	}
	c.mux.Store(m)
	c.srv.h2.Add(1)
	m.lock()
	m.h2.Begin(&c.srv.h2conf, &c.srv.mem, c.srv.clock())
	m.read()
	m.end()
	m.mu.Unlock()
}

// lock takes the lock and tells the time.
func (m *mux) lock() {
	m.mu.Lock()
	m.h2.Now(m.c.srv.clock())
}

// unlock gives the lock back after something was done to a stream.
func (m *mux) unlock() {
	m.settle()
	m.mu.Unlock()
}

// settle acts on what has happened, and makes the reader wake when there is something to do for it.
func (m *mux) settle() {
	for {
		e := m.h2.Next()
		switch e.Kind {
		case http2.EventNone:
			if m.line != nil {
				m.line.greeted()
			}
			m.arm()
			return
		case http2.EventOpen:
			m.open(e.Stream)
		default:
			m.happened(e)
		}
	}
}

// happened tells a lane what has happened to its stream.
func (m *mux) happened(e http2.Event) {
	l := laneOf(e.Stream)
	switch {
	case l == nil:
	case e.Kind == http2.EventReadable:
		l.readable()
	case e.Kind == http2.EventWritable:
		l.writable()
	case e.Kind == http2.EventReset && m.line != nil:
		l.broken()
	case e.Kind == http2.EventReset:
		l.reset()
	}
}

// arm sets the deadline of the read that is under way. A later one than is set costs nothing: it is set when the earlier one has passed.
func (m *mux) arm() {
	at := m.h2.Deadline()
	if m.count == 0 && m.holds { // nor need it for long, then
		if soon := m.c.srv.clock() + int64(look); at == 0 || at > soon {
			at = soon
		}
	}
	switch {
	case m.over:
	case m.h2.Over():
		m.over = true
		m.c.interrupt()
	case m.c.srv.ctx.Err() != nil: // it was woken
	case at != 0 && (m.armed == 0 || at < m.armed):
		m.armed, m.expired = at, false
		_ = m.c.base.SetReadDeadline(m.c.srv.at(at))
	case at == 0 && m.expired:
		m.expired = false
		_ = m.c.base.SetReadDeadline(time.Time{})
	}
}

// read reads until the connection is over and everything is sent. The lock is held but while it waits.
func (m *mux) read() {
	if m.line == nil && m.c.srv.draining.Load() {
		m.h2.Drain()
	}
	for {
		m.settle()
		m.kick()
		if m.over && !m.sending {
			return
		}
		if m.count == 0 && !m.sending && m.raw != nil && !m.await() {
			continue
		}
		b := m.h2.Space()
		if len(b) == 0 || m.over {
			if m.sending {
				m.turn.Wait()
				m.h2.Now(m.c.srv.clock())
			}
			continue
		}
		m.holds = true
		m.mu.Unlock()
		n, err := m.c.conn.Read(b)
		m.lock()
		m.holds = false
		m.came(n, err)
	}
}

// await waits without a buffer, as long as nothing is asked, and reports whether there is something to read.
func (m *mux) await() bool {
	m.mu.Unlock()
	var one [1]byte
	n, err := m.c.io.steady.probe(m.c.conn, one[:])
	if n == 0 && isTimeout(err) {
		if err = m.raw.Read(loud); err == nil {
			m.lock()
			return true
		}
	}
	m.lock()
	if n > 0 && copy(m.h2.Space(), one[:]) == 0 {
		return false // it is over meanwhile
	}
	m.came(n, err)
	m.settle() // that may have been all
	m.kick()
	return n > 0
}

// loud is the callback of a wait: false waits.
func loud(fd uintptr) bool { return !quiet(fd) }

// came tells what a read has brought.
func (m *mux) came(n int, err error) {
	switch {
	case n > 0:
		m.h2.Read(n, wire.More)
	case isTimeout(err) && m.c.srv.ctx.Err() == nil:
		m.h2.Read(0, wire.Blocked)
		m.late()
	case errors.Is(err, io.EOF):
		m.gone = true
		m.h2.Read(0, wire.EOF)
	default:
		m.gone = true
		m.h2.Read(0, wire.Failed)
	}
}

// late acts on a deadline that has passed.
func (m *mux) late() {
	m.armed, m.expired = 0, true
	if m.c.io.steady.moved.Swap(false) {
		m.moves++
		m.h2.Took()
	}
	m.h2.Timeout()
	if m.c.srv.ctx.Err() != nil {
		m.h2.Read(0, wire.Failed)
	}
}

// kick has a goroutine of its own send what is there. The one that reads must not: a client may take nothing until what it sends was read.
func (m *mux) kick() {
	if m.sending {
		return
	}
	n := len(m.h2.Pending())
	m.h2.Wrote(0, wire.More) // until Pending is asked again, its bytes may move
	if n > 0 {
		m.sending = true
		go m.sendFn()
	}
}

// sendOn sends until nothing is left.
func (m *mux) sendOn() {
	m.lock()
	m.send(-1)
	m.unlock()
}

// flush sends what there is, unless somebody is at it. The lock is held but while it writes.
func (m *mux) flush() {
	if !m.sending {
		m.sending = true
		m.send(sendOften)
	}
}

// send sends so often, or, with a negative number, until nothing is left.
func (m *mux) send(often int) {
	for ; often != 0; often-- {
		b := m.h2.Pending()
		if len(b) == 0 {
			m.sending = false
			m.turn.Broadcast()
			return
		}
		m.mu.Unlock()
		n, res := m.write(http2.Whole(b, sendMost))
		m.lock()
		m.h2.Wrote(n, res)
		m.moves++
		m.settle()
		m.turn.Broadcast()
	}
	go m.sendFn()
}

// write encrypts and sends b in one system call, if the client takes as much at once.
func (m *mux) write(b []byte) (int, wire.Result) {
	k, mem := &m.c.io, &m.c.srv.mem
	k.writeBy(m.c.srv.clock() + int64(k.steady.glance()))
	k.steady.cork(mem.Get(largeSize))
	_, err := k.conn.Write(b)
	out := k.steady.uncork()
	if err == nil {
		_, err = k.steady.Write(out)
	}
	mem.Put(out[:cap(out)])
	if err != nil {
		return 0, wire.Failed
	}
	return len(b), wire.More
}

// end waits for the streams, which know that the connection is over, and closes it.
func (m *mux) end() {
	for m.count > 0 || m.sending {
		m.turn.Wait()
	}
	if m.h2.Denied() {
		m.c.srv.denied.Add(1)
	}
	m.h2.Release()
	if m.c.srv.ctx.Err() != nil {
		m.c.reset()
		return
	}
	m.mu.Unlock()
	m.linger()
	m.c.close()
	m.lock()
}

// linger says good-bye and reads on for a little, so that our last words are not destroyed by a reset.
func (m *mux) linger() {
	shut(m.c.conn)
	if m.gone {
		return
	}
	b := m.c.srv.mem.Get(smallSize)
	defer m.c.srv.mem.Put(b)
	_ = m.c.base.SetReadDeadline(time.Now().Add(max(m.c.srv.opt.Timeouts.Linger, 0)))
	for left := 256 << 10; left > 0 && m.c.srv.ctx.Err() == nil; {
		n, err := m.c.base.Read(b)
		if left -= n; err != nil {
			return
		}
	}
}

// drain asks the client to open no more streams.
func (m *mux) drain() {
	m.lock()
	defer m.mu.Unlock()
	m.h2.Drain()
	m.settle()
	m.kick()
}

// cut ends all that the streams wait for, because the driver stops.
func (m *mux) cut() {
	m.lock()
	defer m.mu.Unlock()
	_ = m.c.base.SetDeadline(time.Unix(1, 0)) // once more, with the lock held: arm changes it no more
	for s := m.served.First(); s != nil; s = s.link.Next() {
		s.lane.stop()
	}
}

// sweep wakes those whose upstream is to be left.
func (m *mux) sweep() {
	m.lock()
	defer m.mu.Unlock()
	for s := m.served.First(); s != nil; s = s.link.Next() {
		if u := s.lane.up; u != nil && u.cutOff() {
			u.expire()
			s.lane.poke()
		}
	}
}
