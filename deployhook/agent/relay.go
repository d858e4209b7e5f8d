package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	relayDial   = 4 * time.Second // less than proxies wait for a connection (proxy.timeouts.connect)
	relayDials  = 64              // at a time to one instance: loopback answers at once, or it hangs
	relayBuffer = 32 << 10
	// relayLinger is how long the second direction may go on after the first
	// one ended: an answer that still comes after the client's half-close.
	relayLinger = 10 * time.Minute
)

var errDialsHang = errors.New("connections to it hang")

// dials connects to instances. One that hangs must not take the room that the
// handshakes of all share.
type dials struct {
	mu  sync.Mutex
	now map[string]int // under way, by instance, guarded by mu
}

func (d *dials) dial(ctx context.Context, instance, addr string) (net.Conn, error) {
	if !d.begin(instance) {
		return nil, errDialsHang
	}
	defer d.end(instance)
	return (&net.Dialer{Timeout: relayDial}).DialContext(ctx, "tcp", addr)
}

func (d *dials) begin(instance string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now == nil {
		d.now = make(map[string]int)
	}
	if d.now[instance] >= relayDials {
		return false
	}
	d.now[instance]++
	return true
}

func (d *dials) end(instance string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now[instance]--; d.now[instance] == 0 {
		delete(d.now, instance)
	}
}

var relayBuffers = sync.Pool{New: func() any { b := make([]byte, relayBuffer); return &b }}

// relay joins a proxy's connection with one to an instance and copies bytes both
// ways until both ends are done: requests, answers, upgrades and streams pass as
// they are. When the instance goes away, the proxy's side ends at once.
func relay(proxy *tls.Conn, inst *net.TCPConn) {
	defer inst.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := pass(inst, proxy); err != nil {
			_ = inst.Close() // the proxy broke off: the instance should not go on for nobody
			_ = proxy.NetConn().Close()
			return
		}
		_ = inst.CloseWrite()
		_ = inst.SetReadDeadline(time.Now().Add(relayLinger))
	})
	wg.Go(func() {
		if err := pass(proxy, inst); err != nil {
			// A reset, a write that failed: no orderly end, so that a cut answer
			// is not mistaken for a whole one.
			_ = proxy.NetConn().Close()
			_ = inst.Close()
			return
		}
		_ = proxy.CloseWrite()
		// Nothing can come back to what the proxy still sends: an instance that
		// has closed its side is done with the connection.
		_ = proxy.NetConn().SetReadDeadline(time.Now().Add(relayAfter))
	})
	wg.Wait()
}

// relayAfter lets the proxy notice the end of an instance and close by itself.
const relayAfter = time.Second

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
