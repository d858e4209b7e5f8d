package relay

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"portico/internal/records"
	"portico/internal/unsent"
)

const (
	buffer = 32 << 10
	// Linger is how long, as a rule, the second direction may be silent after the first
	// one ended: an answer that still comes after the client's half-close.
	Linger = 10 * time.Minute
)

var buffers = sync.Pool{New: func() any { b := make([]byte, buffer); return &b }}

// Join joins a proxy's connection with one to an instance and copies bytes both
// ways until both ends are done: requests, answers, upgrades and streams pass as
// they are. When the instance goes away, the proxy's side ends at once, and the other
// way round. Within: the proxy ends its half within TLS only, as ours do, so that an end
// of the connection below is one of both directions; HAProxy's is not.
func Join(proxy *tls.Conn, inst *net.TCPConn, linger time.Duration, within bool) {
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
		answer.owe() // before the end, which the system counts as a byte
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
		_ = proxy.NetConn().SetReadDeadline(time.Now().Add(goodbye))
	})
	wg.Wait()
}

// goodbye lets the proxy notice the end of an instance and close by itself.
const goodbye = time.Second

// lingering is an instance whose answer is not waited for without end any more once it has begun to linger.
type lingering struct {
	*net.TCPConn
	silence time.Duration
	begun   atomic.Bool
	fed     *feeding
	owed    atomic.Int64 // what the instance had not taken of the proxy's bytes at the last look
}

// owe notes what the instance has not taken yet.
func (l *lingering) owe() { l.owed.Store(int64(max(unsent.Held(l.TCPConn), 0))) }

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

// takes reports whether the instance has taken some of the proxy's bytes since the last look. After the last of them it may be silent as
// long as after any other.
func (l *lingering) takes() bool {
	held := int64(unsent.Held(l.TCPConn))
	return held >= 0 && held < l.owed.Swap(max(held, 0))
}

// pass copies until the end of src (nil) or an error.
func pass(dst io.Writer, src io.Reader) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
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
