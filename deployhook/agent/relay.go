package agent

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"
)

const (
	relayDial   = 5 * time.Second
	relayBuffer = 32 << 10
	// relayLinger is how long the second direction may go on after the first
	// one ended: an answer that still comes after the client's half-close.
	relayLinger = 10 * time.Minute
)

var relayBuffers = sync.Pool{New: func() any { b := make([]byte, relayBuffer); return &b }}

// relay joins a proxy's connection with a new one to addr and copies bytes both
// ways until both ends are done: requests, answers, upgrades and streams pass as
// they are. When the instance does not answer, or goes away, the proxy's side
// ends at once.
func relay(proxy *tls.Conn, addr string) {
	ctx, cancel := context.WithTimeout(context.Background(), relayDial)
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	cancel()
	if err != nil {
		_ = proxy.NetConn().Close()
		return
	}
	inst := c.(*net.TCPConn)
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
