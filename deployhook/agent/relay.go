package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"portico/deployhook/agent/portowner"
	"portico/internal/descriptors"
	"portico/internal/records"
	"portico/internal/unsent"
)

const (
	relayDial = 4 * time.Second // less than proxies wait for a connection (proxy.timeouts.connect)
	// A dial on loopback is answered at once, or its instance hangs: so many may be under way when none was answered for relayHangs. A crowd
	// that comes at once on a busy machine has more, whose answers come.
	relayDials  = 64
	relayHangs  = time.Second
	relayMost   = handshakes / 2 // however many are answered: the others share the room
	relayBuffer = 32 << 10
	// relayLinger is how long the second direction may be silent after the first
	// one ended: an answer that still comes after the client's half-close.
	relayLinger = 10 * time.Minute
)

var errDialsHang = errors.New("connections to it hang")

// dials connects to instances. One that hangs must not take the room that the
// handshakes of all share.
type dials struct {
	dialer  func(allowed) *portowner.Dialer
	traffic *descriptors.Traffic

	mu  sync.Mutex
	now map[string]*dialing // by instance, guarded by mu
}

// dialing is what is under way to one instance.
type dialing struct {
	count int
	moved time.Time // when one was answered, or the first of these began
}

func (d *dials) dial(ctx context.Context, instance, addr string, ok allowed) (net.Conn, error) {
	if !d.begin(instance, time.Now()) {
		return nil, errDialsHang
	}
	dialer := d.dialer(ok)
	dialer.Timeout, dialer.Control = relayDial, d.traffic.Control
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	d.end(instance, err == nil || !errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil, time.Now())
	return conn, err
}

func (d *dials) begin(instance string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now == nil {
		d.now = make(map[string]*dialing)
	}
	n := d.now[instance]
	if n == nil {
		n = &dialing{moved: now}
		d.now[instance] = n
	}
	if n.count >= relayMost || n.count >= relayDials && now.Sub(n.moved) > relayHangs {
		return false
	}
	n.count++
	return true
}

func (d *dials) end(instance string, answered bool, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.now[instance]
	if answered {
		n.moved = now
	}
	if n.count--; n.count == 0 {
		delete(d.now, instance)
	}
}

var relayBuffers = sync.Pool{New: func() any { b := make([]byte, relayBuffer); return &b }}

// relay joins a proxy's connection with one to an instance and copies bytes both
// ways until both ends are done: requests, answers, upgrades and streams pass as
// they are. When the instance goes away, the proxy's side ends at once, and the other
// way round. Within: the proxy ends its half within TLS only, as ours do, so that an end
// of the connection below is one of both directions; HAProxy's is not.
func relay(proxy *tls.Conn, inst *net.TCPConn, linger time.Duration, within bool) {
	defer inst.Close()
	fed := newFeeding(inst)
	answer := &lingering{TCPConn: inst, silence: linger, fed: fed}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := pass(fed, proxy); err != nil {
			_ = inst.Close() // the proxy broke off: the instance should not go on for nobody
			_ = proxy.NetConn().Close()
			return
		}
		_ = inst.CloseWrite()
		answer.begin()
		if within {
			_, _ = proxy.NetConn().Read(make([]byte, 1)) // nothing comes any more but an end
			_ = inst.Close()
			_ = proxy.NetConn().Close()
		}
	})
	wg.Go(func() {
		if err := pass(proxy, answer); err != nil {
			// A reset, a write that failed: no orderly end, so that a cut answer
			// is not mistaken for a whole one.
			_ = proxy.NetConn().Close()
			_ = inst.Close()
			return
		}
		if end, ok := proxy.NetConn().(*records.Ending); ok && fed.starved() {
			_ = end.CloseUnread(proxy)
		} else {
			_ = proxy.CloseWrite()
		}
		// Nothing can come back to what the proxy still sends: an instance that
		// has closed its side is done with the connection.
		_ = proxy.NetConn().SetReadDeadline(time.Now().Add(relayAfter))
	})
	wg.Wait()
}

// relayAfter lets the proxy notice the end of an instance and close by itself.
const relayAfter = time.Second

// lingering is an instance whose answer is not waited for without end any more once it has begun to linger.
type lingering struct {
	*net.TCPConn
	silence time.Duration
	begun   atomic.Bool
	fed     *feeding
	owed    int // what the instance had not taken of the proxy's bytes at the last look, for Read only
}

func (l *lingering) begin() {
	l.begun.Store(true)
	_ = l.SetReadDeadline(time.Now().Add(l.silence))
}

// Read implements io.Reader.
func (l *lingering) Read(b []byte) (int, error) {
	if l.begun.Load() {
		_ = l.SetReadDeadline(time.Now().Add(l.silence))
	}
	n, err := l.TCPConn.Read(b)
	for errors.Is(err, os.ErrDeadlineExceeded) && l.takes() {
		_ = l.SetReadDeadline(time.Now().Add(l.silence))
		n, err = l.TCPConn.Read(b)
	}
	if n > 0 {
		l.fed.answered() // before the proxy hears of it, which sends nothing new before that
	}
	return n, err
}

// takes reports whether the instance has taken some of the proxy's bytes since the last look.
func (l *lingering) takes() bool {
	held := unsent.Held(l.TCPConn)
	took := held >= 0 && (l.owed == 0 || held < l.owed)
	l.owed = held
	return took && held > 0
}

// pass copies until the end of src (nil) or an error.
func pass(dst io.Writer, src io.Reader) error {
	buf := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(buf)
	for {
		n, err := src.Read(*buf)
		if n > 0 {
			if _, werr := dst.Write((*buf)[:n]); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
