package start

import (
	"context"
	"errors"
	"sync"
)

// group is parts of a process that run side by side and stop together. The zero
// value is ready to use.
type group struct {
	wg   sync.WaitGroup
	once sync.Once

	mu      sync.Mutex
	cancels []context.CancelFunc // guarded by mu
	errs    []error              // guarded by mu
	first   chan error           // gets the first part's error, or nil, when it ends
}

// start runs f until stop. f outlives ctx, so that parts can be stopped in
// order; it only keeps ctx's values.
func (g *group) start(ctx context.Context, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	failed := g.channel()
	g.mu.Lock()
	g.cancels = append(g.cancels, cancel)
	g.mu.Unlock()
	g.wg.Go(func() {
		err := f(ctx)
		g.mu.Lock()
		g.errs = append(g.errs, err)
		g.mu.Unlock()
		select {
		case failed <- err:
		default:
		}
	})
	return nil
}

func (g *group) channel() chan error {
	g.once.Do(func() { g.first = make(chan error, 1) })
	return g.first
}

// failed returns the channel that tells when the first part has ended.
func (g *group) failed() <-chan error { return g.channel() }

// stop ends all parts, waits for them and returns their errors.
func (g *group) stop() error {
	g.mu.Lock()
	for _, cancel := range g.cancels {
		cancel()
	}
	g.mu.Unlock()
	g.wg.Wait()
	return errors.Join(g.errs...)
}
