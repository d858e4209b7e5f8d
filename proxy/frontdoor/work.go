package frontdoor

import (
	"context"
	"sync"
)

// working is what a proxy does beside the traffic: all that belongs to the
// catalog. It can end while the traffic goes on, and begin anew.
type working struct {
	wg     sync.WaitGroup
	stop   context.CancelFunc
	failed chan error // gets what ends the proxy: the admin listener's error, or that this proxy belongs to the cluster no more
}

// startWork begins it; openWork has opened the parts.
func (p *Proxy) startWork(ctx context.Context) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &working{stop: stop, failed: make(chan error, 2)}
	p.deployer.Start()
	w.wg.Go(func() { p.admission.Run(ctx) })
	w.wg.Go(func() { p.follow(ctx) })
	w.wg.Go(func() { p.maintain(ctx) })
	w.wg.Go(func() { p.tellRelocated(ctx) })
	w.wg.Go(func() { p.settle(ctx) })
	w.wg.Go(func() {
		if err := p.belong(ctx); err != nil {
			w.failed <- err
		}
	})
	listener := p.listener
	w.wg.Go(func() { w.failed <- listener.serve() })
	p.working = w
}

// workFailed gets what ends the proxy; nil while nobody works.
func (p *Proxy) workFailed() <-chan error {
	if p.working == nil {
		return nil
	}
	return p.working.failed
}

// stopWork ends it, also what was opened by halves. The traffic and the catalog are
// not touched; the socket of the admin listener stays with p.sockets.
func (p *Proxy) stopWork() {
	var closed sync.WaitGroup
	if l := p.listener; l != nil {
		closed.Go(l.close)
	}
	if p.admission != nil {
		p.admission.Close() // it and the deployer answer the long polls, for which the listener waits
	}
	if p.deployer != nil {
		_ = p.deployer.Close()
		p.peers.close()
	}
	closed.Wait()
	if p.working != nil {
		p.working.stop()
	}
	if p.gossip != nil {
		_ = p.gossip.Close()
	}
	if p.working != nil {
		p.working.wg.Wait()
	}
	if p.listener != nil {
		p.listener.quiet()
	}
}
