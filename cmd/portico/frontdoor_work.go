package main

import (
	"context"
	"sync"
)

// working is what a front door does beside the traffic: all that belongs to the
// catalog. It can end while the traffic goes on, and begin anew.
type working struct {
	wg     sync.WaitGroup
	stop   context.CancelFunc
	failed chan error // gets what ends the front door: the admin listener's error, or that this proxy belongs to the cluster no more
}

// work begins it; openWork has opened the parts.
func (f *frontDoor) work(ctx context.Context) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &working{stop: stop, failed: make(chan error, 2)}
	f.deployer.Start()
	w.wg.Go(func() { f.admission.Run(ctx) })
	w.wg.Go(func() { f.follow(ctx) })
	w.wg.Go(func() { f.maintain(ctx) })
	w.wg.Go(func() { f.tellRelocated(ctx) })
	w.wg.Go(func() { f.settle(ctx) })
	w.wg.Go(func() {
		if err := f.belong(ctx); err != nil {
			w.failed <- err
		}
	})
	listener := f.listener
	w.wg.Go(func() { w.failed <- listener.serve() })
	f.working = w
}

// rest ends it, also what was opened by halves. The traffic and the catalog are
// not touched; the socket of the admin listener stays with f.sockets.
func (f *frontDoor) rest() {
	var closed sync.WaitGroup
	if l := f.listener; l != nil {
		closed.Go(l.close)
	}
	if f.admission != nil {
		f.admission.Close() // it and the deployer answer the long polls, for which the listener waits
	}
	if f.deployer != nil {
		_ = f.deployer.Close()
		f.peers.close()
	}
	closed.Wait()
	if f.working != nil {
		f.working.stop()
	}
	if f.gossip != nil {
		_ = f.gossip.Close()
	}
	if f.working != nil {
		f.working.wg.Wait()
	}
	if f.listener != nil {
		f.listener.quiet()
	}
}
