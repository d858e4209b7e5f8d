package agent

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Listen binds the mutual TLS listener. Without Options.Listen it does nothing.
func (a *Agent) Listen() error {
	if a.o.Listen == "" || a.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", a.o.Listen)
	if ap, rerr := net.ResolveTCPAddr("tcp", a.o.Listen); err != nil && rerr == nil && a.clearOwnPort(ap.Port) {
		l, err = net.Listen("tcp", a.o.Listen)
	}
	if err != nil {
		return fmt.Errorf("listen for proxies: %w: %s", err, a.listenRemedy(a.o.Listen))
	}
	a.listener = l
	return nil
}

// Resumed returns a channel that is closed when Serve has found what an agent before this one left
// running. An instance that was found is reachable by then.
func (a *Agent) Resumed() <-chan struct{} { return a.resumed }

// Addr returns the address that Listen bound, nil before.
func (a *Agent) Addr() net.Addr {
	if a.listener == nil {
		return nil
	}
	return a.listener.Addr()
}

// Serve converges on the wanted state and serves traffic until ctx ends or
// Shutdown is called. The instances run on until Shutdown.
func (a *Agent) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	if a.closing || a.stop != nil {
		a.mu.Unlock()
		return nil // shut down before it began, or begun already
	}
	a.stop = cancel
	a.running.Add(1) // Shutdown waits for this call
	a.mu.Unlock()
	defer a.running.Done()

	loops := sync.WaitGroup{}
	defer loops.Wait()
	live := a.adopt()
	if a.listener != nil {
		loops.Go(func() { a.web.Accept(ctx, a.listener) }) // who came before waits in the kernel's queue
	}
	a.resume(live)
	close(a.resumed)
	loops.Go(func() { a.askRuntimes(ctx) })
	loops.Go(func() { a.members.Poll(ctx, a.Wanted().Revision, a.incoming) })
	loops.Go(func() { a.sendReports(ctx) })
	loops.Go(func() { a.tidyLoop(ctx) })
	loops.Go(func() { a.logs.Run(ctx) })
	loops.Go(func() { a.watchDisk(ctx) })
	for {
		select {
		case w := <-a.incoming:
			a.follow(w)
		case <-ctx.Done():
			return nil
		}
	}
}
