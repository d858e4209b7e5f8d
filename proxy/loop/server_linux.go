package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"portico/internal/descriptors"
	"portico/proxy/exchange"
	"portico/proxy/http2"
	"portico/proxy/loop/handshakes"
	"portico/proxy/loop/socket"
)

// Supported reports whether New works on this system.
const Supported = true

// server is the loops of one driver.
type server struct {
	opt                          exchange.Options
	start                        time.Time
	loops                        []*loop
	locals                       []netip.AddrPort // of the listeners
	clientShakes, upstreamShakes handshakes.Limit[waiter]
	h2                           http2.Config
	files                        *descriptors.Traffic

	shakers  handshakes.Workers
	helpers  sync.WaitGroup // name look-ups
	draining atomic.Bool    // since Shutdown
	deaf     atomic.Int32   // loops that accept nothing any more
	done     chan struct{}
	stopped  sync.Once
	ctx      context.Context
	cancel   context.CancelFunc
}

// New prepares a driver. It takes the listeners over when it succeeds.
func New(o exchange.Options) (exchange.Driver, error) {
	o = o.WithDefaults()
	if o.Loops <= 0 {
		o.Loops = runtime.GOMAXPROCS(0)
	}
	srv := &server{opt: o, start: time.Now(), done: make(chan struct{}), files: descriptors.New(o.Logger)}
	srv.h2 = http2.Config{Limits: &srv.opt.Limits, Timeouts: &srv.opt.Timeouts}
	srv.clientShakes.Most, srv.upstreamShakes.Most = o.Handshakes, o.Handshakes
	socket.ReserveTable()
	srv.ctx, srv.cancel = context.WithCancel(context.Background())
	for i := range o.Loops {
		l, err := newLoop(srv, i)
		if err != nil {
			srv.abandon()
			return nil, fmt.Errorf("make event loop: %w", err)
		}
		srv.loops = append(srv.loops, l)
	}
	for i, ln := range o.Listeners {
		if a, ok := ln.Addr().(*net.TCPAddr); ok {
			srv.locals = append(srv.locals, a.AddrPort())
		} else {
			srv.locals = append(srv.locals, netip.AddrPort{})
		}
		for _, l := range srv.loops {
			if err := l.listen(ln.Listener, i, len(srv.loops) > 1); err != nil {
				srv.abandon()
				return nil, fmt.Errorf("listen on %s: %w", ln.Addr(), err)
			}
		}
	}
	return srv, nil
}

func (srv *server) abandon() {
	srv.cancel()
	for _, l := range srv.loops {
		l.closeAll()
	}
}

// clock is nanoseconds since the driver was made, never zero.
func (srv *server) clock() int64 { return int64(time.Since(srv.start)) + 1 }

func (srv *server) clients() int64 {
	var n int64
	for _, l := range srv.loops {
		n += l.clients.Load()
	}
	return n
}

// emptiest returns the loop that should take a connection that l accepted: l itself unless another has clearly less to do. The
// kernel spreads few long-lived connections badly.
func (srv *server) emptiest(l *loop) *loop {
	best, least := l, l.clients.Load()-1
	for _, o := range srv.loops {
		if n := o.clients.Load(); n < least {
			best, least = o, n
		}
	}
	return best
}

func (srv *server) fromProxy(index int, a netip.Addr) bool {
	for _, p := range srv.opt.Listeners[index].ProxyFrom {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// Serve runs the loops.
func (srv *server) Serve(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, l := range srv.loops {
		wg.Go(l.run)
	}
	stop := context.AfterFunc(ctx, func() {
		done, cancel := context.WithCancel(context.Background())
		cancel()
		_ = srv.Shutdown(done)
	})
	defer stop()
	wg.Wait()
	srv.cancel()
	for _, ln := range srv.opt.Listeners {
		_ = ln.Close()
	}
	srv.shakers.Close()
	srv.helpers.Wait()
	close(srv.done)
	return nil
}

// StopAccepting gives up the listeners.
func (srv *server) StopAccepting() {
	for _, ln := range srv.opt.Listeners {
		_ = ln.Close()
	}
	for _, l := range srv.loops {
		l.post(message{kind: messageStopAccepting})
	}
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for len(srv.opt.Listeners) > 0 && srv.deaf.Load() < int32(len(srv.loops)) {
		select {
		case <-srv.done:
			return
		case <-t.C:
		}
	}
}

// Shutdown drains until ctx is done, then stops the loops. It may be called more than once.
func (srv *server) Shutdown(ctx context.Context) error {
	for _, ln := range srv.opt.Listeners {
		_ = ln.Close()
	}
	srv.draining.Store(true)
	for _, l := range srv.loops {
		l.post(message{kind: messageDrain})
	}
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	var err error
	for srv.clients() > 0 && err == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-srv.done:
			return nil
		case <-t.C:
		}
	}
	srv.stopped.Do(func() {
		for _, l := range srv.loops {
			l.post(message{kind: messageStop})
		}
	})
	<-srv.done
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Stats sums up the loops.
func (srv *server) Stats() exchange.Stats {
	var s exchange.Stats
	s.Shaking, s.Waiting = srv.clientShakes.Count()
	s.Short = srv.files.Short()
	for _, l := range srv.loops {
		s.Accepted += l.accepted.Load()
		s.Refused += l.refused.Load()
		s.Clients += l.clients.Load()
		s.Upstreams += l.upstreams.Load()
		s.Handshakes += l.shaken.Load()
		s.BadTLS += l.badTLS.Load()
		s.Gathered += l.gatherings.Load()
		s.HTTP2 += l.h2conns.Load()
		s.Denied += l.denied.Load()
		for i := range s.Latency {
			s.Latency[i] += l.latency[i].Load()
		}
		s.SlowestTurn = max(s.SlowestTurn, time.Duration(l.slowest.Load()))
	}
	return s
}
