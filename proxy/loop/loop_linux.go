package loop

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"portico/proxy/exchange"
	"portico/proxy/loop/socket"
	"portico/proxy/loop/spare"
	"portico/proxy/loop/uring"
	"portico/proxy/loop/wheel"
)

const (
	byteBudget   = 96 << 10 // one connection's bytes before others have their turn
	cipherWork   = 3        // what a byte of TLS costs of it
	opWork       = 4 << 10  // what an operation costs of it, however few its bytes
	acceptBudget = 16       // connections accepted in one turn
	events       = 256      // taken from the kernel in one turn
)

// sock is one registered descriptor: a listener, the wake-up, a client or an upstream connection. Registered once, edge-triggered,
// for all its life. Or it stands for a stream of a client's connection: such a one has no descriptor.
type sock struct {
	fd     int32
	gen    uint32 // tells this socket from another with the same descriptor number in one batch of events
	kind   kind
	hup    bool  // the peer has ended its side, or the connection broke
	ready  bool  // TLS: the descriptor may have bytes
	reset  bool  // the kernel has told of a reset, which it does once: an end that is read now is none in order
	bulky  bool  // the last read brought more than is received early
	split  bool  // urgent data has come (RFC 9293, 3.8.5): a read ends before it, whatever is behind
	served bool  // of a client: it has had an answer
	slot   uint8 // of what was received early; 0: nothing
	index  int   // of a listener

	timer wheel.Entry[*sock]

	s        *session // being served; nil: idle
	tls      *tlsSide // nil: plain
	h2       *h2Conn  // of a client that speaks HTTP/2, and of its streams
	line     *line    // of an upstream that does, and of its streams
	proxy    []byte   // a PROXY protocol header that is still incomplete
	deadline int64    // when idle
	addr     netip.AddrPort
	https    bool

	pool       *pool // of an upstream
	idlePrev   *sock // neighbours in the pool's list of idle connections
	idleNext   *sock
	own        *sock // of a client: the upstream connection of its own that has waited longest, see own_linux.go
	owner      *sock // of an upstream: the client that it belongs to, while it waits
	counted    bool  // Opened was asked
	connecting bool
}

type kind uint8

const (
	kindListener kind = iota
	kindWake
	kindClient
	kindUpstream
	kindStream
	kindCall // a stream to an upstream
)

// loop owns everything that its connections need; only its own goroutine touches any of it, but for the inbox and the atomics.
type loop struct {
	srv     *server
	index   int
	ep      int
	wake    *sock
	now     int64
	socks   []*sock // by descriptor
	gen     uint32
	buf     [events]syscall.EpollEvent
	got     int   // events in buf
	done    int   // of them, done
	work    int   // since the clock was read, in bytes or what costs as much
	begun   int64 // the turn
	until   int64 // the end of the turn's present stage
	watch   *watch
	yielded int64
	mem     spare.Buffers
	batch   batch
	early   early
	wheel   wheel.Wheel[*sock]
	pools   map[*exchange.Upstream]*pool
	free    spare.List[*session]
	trimAt  int64      // when to look what of mem and free nobody needs
	queue   []*session // have used up their budget and go on in the next turn
	h2s     []*h2Conn  // have something to do or to send
	lines   []*line    // likewise
	turns   uint32
	pipes   []*pipe // empty ones
	plain   []byte  // decrypted bytes on their way into records
	cipher  []byte  // bytes of records
	sweep   int64

	listeners []*sock
	paused    bool
	resume    int64
	reserve   int32 // a descriptor to close when there are no others

	inMu     sync.Mutex
	inbox    []message
	inOther  []message
	inDone   int         // of inOther
	mail     bool        // there may be messages
	closed   bool        // guarded by inMu: nobody reads the inbox any more, and the descriptor that wakes is closed
	signaled atomic.Bool // there are messages
	asleep   atomic.Bool // the loop waits for events, or is about to: a message has to wake it

	clients    atomic.Int64
	upstreams  atomic.Int64
	accepted   atomic.Uint64
	refused    atomic.Uint64
	shaken     atomic.Uint64
	badTLS     atomic.Uint64
	gatherings atomic.Uint64 // sends that went through the ring
	h2conns    atomic.Uint64 // connections that have spoken HTTP/2
	denied     atomic.Uint64 // of those, the ones whose client used up a budget
	latency    [exchange.LatencyBuckets]atomic.Uint64
	slowest    atomic.Int64
	handshakes int // of this loop's sockets
	draining   bool
	drained    int  // of socks, while draining
	overdue    bool // timers are due that the last turn had no time for
	shedding   bool // descriptors are short: close idle upstream connections
	stop       bool
}

func newLoop(srv *server, index int) (*loop, error) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	l := &loop{srv: srv, index: index, ep: ep, pools: make(map[*exchange.Upstream]*pool), reserve: -1}
	l.plain, l.cipher = make([]byte, 0, 16<<10), make([]byte, 64<<10)
	l.now = srv.clock()
	l.wheel.Begin(l.now)
	efd, _, e := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if e != 0 {
		_ = syscall.Close(ep)
		return nil, e
	}
	l.wake = &sock{fd: int32(efd), kind: kindWake}
	if err := l.register(l.wake, syscall.EPOLLIN|epollET); err != nil {
		l.closeAll()
		return nil, err
	}
	l.openReserve()
	l.batch.least = batchLeast
	if !srv.opt.NoRing {
		if l.batch.ring, err = uring.New(batchSize); err != nil {
			srv.opt.Logger.Debug("no io_uring: each send is a system call of its own", "error", err)
		}
	}
	return l, nil
}

const (
	epollET      = 1 << 31
	socketEvents = syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | syscall.EPOLLPRI | epollET
)

func (l *loop) openReserve() {
	if l.reserve < 0 {
		if fd, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err == nil {
			l.reserve = int32(fd)
		}
	}
}

// register puts a socket under the loop's care.
func (l *loop) register(s *sock, events uint32) error {
	l.gen++
	s.gen = l.gen
	for int(s.fd) >= len(l.socks) {
		l.socks = append(l.socks, make([]*sock, max(64, len(l.socks)))...)
	}
	ev := syscall.EpollEvent{Events: events, Fd: s.fd, Pad: int32(s.gen)}
	if err := syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_ADD, int(s.fd), &ev); err != nil {
		return err
	}
	l.socks[s.fd] = s
	return nil
}

// forget takes a socket out without closing it.
func (l *loop) forget(s *sock) {
	l.wheel.Remove(&s.timer)
	if s.slot != 0 {
		l.used(s)
	}
	if l.socks[s.fd] == s {
		l.socks[s.fd] = nil
	}
}

// run turns until it is told to stop.
func (l *loop) run() {
	for !l.stop {
		l.poll()
		if l.watch == nil {
			l.turn()
			continue
		}
		l.watch.begin()
		l.turn()
		l.watch.end()
	}
	l.closeAll()
}

// patience is how long the wait may last, in milliseconds.
func (l *loop) patience() int {
	if len(l.queue) > 0 || len(l.h2s) > 0 || len(l.lines) > 0 || l.mail || l.overdue {
		return 0
	}
	w := l.wheel.Wait(l.now)
	if l.paused && (w < 0 || w > 100) {
		return 100
	}
	if (l.upstreams.Load() > 0 || l.mem.Rich() || l.free.Rich()) && (w < 0 || w > 1000) {
		return 1000 // idle upstream connections age, those of a killed upstream are cut, spare buffers given back, however quiet it is
	}
	return w
}

func (l *loop) measure(begin int64) {
	took := l.srv.clock() - begin
	i, us := 0, took/1000
	for us > 0 && i < exchange.LatencyBuckets-1 {
		us >>= 1
		i++
	}
	l.latency[i].Store(l.latency[i].Load() + 1)
	if took > l.slowest.Load() {
		l.slowest.Store(took)
	}
}

func (l *loop) event(ev *syscall.EpollEvent) {
	if int(ev.Fd) >= len(l.socks) {
		return
	}
	s := l.socks[ev.Fd]
	if s == nil || s.gen != uint32(ev.Pad) {
		return // of a socket that an earlier event of this batch closed
	}
	switch s.kind {
	case kindListener:
		l.accept(s)
	case kindWake:
		l.mail = true
	case kindClient:
		l.clientEvent(s, ev.Events)
	case kindUpstream:
		l.upstreamEvent(s, ev.Events)
	case kindStream, kindCall: // have no descriptor
	}
}

func (l *loop) fire(c *sock) {
	l.work += closeWork
	if c.h2 != nil && c.kind == kindClient {
		l.fireH2(c.h2)
		return
	}
	if c.line != nil {
		l.fireLine(c.line)
		return
	}
	if c.s == nil || c.kind == kindUpstream {
		trimTLS(c)
		switch {
		case c.deadline == 0:
		case l.takes(c):
			l.owing(c)
		case c.deadline <= l.now:
			l.closeClient(c)
		case c.tls != nil && c.tls.closing:
			l.schedule(c, min(c.deadline, l.now+owedLook))
		default:
			l.schedule(c, c.deadline)
		}
		return
	}
	s := c.s
	s.x.Now(l.now)
	if at := s.x.Deadline(); at != 0 && at <= l.now {
		l.look(s)
		s.x.Timeout()
		l.dropHalf(s)
		l.drive(s)
	} else if at != 0 {
		l.schedule(c, at)
	}
}

// drain stops accepting, closes idle connections and makes the present answers the last of their connections.
func (l *loop) drain() {
	l.draining = true
	l.deafen()
	l.drained = 0
	if !l.drainSome() {
		l.overdue = true
	}
}

// deafen stops accepting. Another process may hold the sockets, so closing the descriptors alone would leave them in the set: the kernel
// would go on waking this loop, and with EPOLLEXCLUSIVE in place of one that accepts.
func (l *loop) deafen() {
	for _, ln := range l.listeners {
		_ = syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_DEL, int(ln.fd), nil) // not there while accepting pauses
		l.forget(ln)
		socket.Close(ln.fd)
	}
	if l.listeners != nil {
		l.srv.deaf.Add(1)
	}
	l.listeners, l.paused = nil, false
}

// drainSome does that, some connections in a turn; it reports whether it has seen all.
func (l *loop) drainSome() bool {
	for l.drained < len(l.socks) {
		if l.late() {
			return false
		}
		c := l.socks[l.drained]
		l.drained++
		if c == nil || c.kind != kindClient {
			continue
		}
		l.work += closeWork
		switch {
		case c.h2 != nil:
			l.drainH2(c.h2)
		case c.s != nil:
			c.s.x.Drain()
			if !c.s.queued {
				c.s.x.Now(l.now)
				l.drive(c.s)
			}
		case c.tls == nil || c.tls.state != tlsShaking:
			l.closeClient(c)
		}
	}
	return true
}

// closeAll ends what is left.
func (l *loop) closeAll() {
	for _, c := range l.socks {
		if c == nil {
			continue
		}
		switch c.kind {
		case kindClient:
			if c.h2 != nil {
				l.abandonH2(c.h2)
			} else if c.s != nil {
				c.s.x.Now(l.now)
				c.s.x.Abandon()
				l.drive(c.s)
			} else {
				l.closeClient(c)
			}
		case kindListener:
			socket.Close(c.fd)
		case kindUpstream, kindWake, kindStream, kindCall:
		}
	}
	for _, c := range l.socks {
		if c != nil && c.kind == kindUpstream {
			l.closeUpstream(c)
		}
	}
	for l.draining = true; l.handshakes > 0; { // their goroutines still use descriptors
		_, _ = socket.EpollWait(l.ep, l.buf[:], 10)
		l.readAll()
	}
	l.listeners = nil
	l.readAll() // what was posted until now
	l.inMu.Lock()
	l.closed = true
	l.inMu.Unlock()
	for _, p := range l.pipes {
		p.close()
	}
	if l.reserve >= 0 {
		socket.Close(l.reserve)
	}
	if l.batch.ring != nil {
		l.batch.ring.Close()
	}
	socket.Close(l.wake.fd)
	_ = syscall.Close(l.ep)
}
