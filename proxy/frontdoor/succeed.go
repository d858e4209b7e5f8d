package frontdoor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"portico/internal/pause"
	"portico/internal/statedir"
	"portico/internal/takeover"
	"portico/proxy/frontdoor/succession"
)

// takeoverSocket lies in the state folder while a proxy runs that can be taken
// over: a second one that is started on the folder asks there, see docs/decisions/take-over.md.
const takeoverSocket = "takeover.sock"

const (
	// firstChecks bounds how long a proxy that takes over waits for its first checks of
	// the instances: one that does not answer must not keep the others.
	firstChecks = 10 * time.Second

	// queuedChecks is the same where nobody serves meanwhile and visitors wait in the
	// queue of a socket that the service manager kept.
	queuedChecks = 300 * time.Millisecond

	// findAgain is how long to look for the successor of a process that went away while
	// it was asked.
	findAgain = 5 * time.Second
)

// who tells the other process who this one is.
func (p *Proxy) who() takeover.Who {
	return takeover.Who{Name: p.conf.Proxy.Name, Version: p.options.Version}
}

// awaitPredecessor waits for a process that has been told to stop.
func (p *Proxy) awaitPredecessor(ctx context.Context) error {
	return statedir.AwaitPredecessor(ctx, p.conf.Dir, p.log)
}

// succeed takes over from the proxy that runs on the folder, if there is one. When
// it returns, that one has closed the catalog, the admin listener and the gossip, and serves
// visitors still.
func (p *Proxy) succeed(ctx context.Context) error {
	p.successors = &succession.Successors{}
	p.adopt()
	var gone time.Time
	for {
		if err := p.awaitPredecessor(ctx); err != nil {
			return err
		}
		predecessor, err := takeover.Ask(ctx, p.path(takeoverSocket), p.who(), &p.sockets)
		switch {
		case err == nil:
			p.predecessor = predecessor
			p.succession.Enter(succession.Succeeding)
			p.log.Info("taking over from the running proxy", "pid", predecessor.PID, "version", predecessor.Holder.Version)
			return nil
		case errors.Is(err, takeover.ErrGone) && gone.IsZero():
			gone = time.Now()
		case !errors.Is(err, takeover.ErrGone) && !errors.Is(err, takeover.ErrNobody):
			return err
		case gone.IsZero() || time.Since(gone) > findAgain: // nobody: the folder's lock tells, if there is somebody all the same
			return nil
		}
		if err := pause.For(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("take over from the running proxy: %w", err)
		}
	}
}

// assume makes sure that this proxy can serve as well as the one before it, and
// takes the traffic. Where nobody waits for it, it serves at once.
func (p *Proxy) assume(ctx context.Context) error {
	if p.predecessor == nil && !p.adopted {
		return nil
	}
	wait := firstChecks
	if p.predecessor == nil {
		wait = queuedChecks
	}
	limit := time.Now().Add(wait)
	for p.web.Unchecked() > 0 && time.Now().Before(limit) {
		if err := pause.For(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the first checks: %w", err)
		}
	}
	if n := p.web.Unchecked(); n > 0 {
		p.log.Warn("taking over before all instances are checked", "unchecked", n, "waited", wait.String())
	}
	if p.predecessor != nil {
		if err := p.predecessor.Ready(ctx); err != nil {
			return err
		}
		p.log.Info("taken over", "pid", p.predecessor.PID, "version", p.predecessor.Holder.Version)
	}
	for _, name := range p.sockets.Trim() {
		p.log.Warn("a listening socket that was handed to this process is not used: the address is another one now", "listener", name)
	}
	return nil
}

// reportFailure tells the proxy that this one should have taken over from why it does
// not. Everything is closed by then.
func (p *Proxy) reportFailure(why error) {
	if p.predecessor == nil {
		return
	}
	if !errors.Is(why, takeover.ErrRevoked) {
		p.log.Error("not taken over: the running proxy goes on", "pid", p.predecessor.PID, "error", why)
		p.predecessor.Fail(why)
	}
	p.predecessor.Close()
}

// awaitInheritance begins to wait for what the predecessor leaves, where there is one.
func (p *Proxy) awaitInheritance(ctx context.Context) {
	if p.predecessor == nil {
		return
	}
	var left context.Context
	left, p.alone = context.WithCancel(context.WithoutCancel(ctx))
	p.inherited = make(chan struct{})
	p.wg.Go(func() { p.inherit(left) })
}

// inherit takes what the predecessor leaves until it has ended.
func (p *Proxy) inherit(ctx context.Context) {
	defer close(p.inherited)
	defer p.silent.Store(true)
	defer p.predecessor.Close()
	defer p.web.Balancer().SettleFormer()
	for {
		_, file, err := p.predecessor.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				p.log.Info("the former process has ended", "pid", p.predecessor.PID)
			}
			return
		}
		n, err := p.web.Balancer().MergeSessions(file, p.web.Now().UnixMilli())
		_ = file.Close()
		if err != nil {
			p.log.Warn("sessions of the former process not taken: they are counted as their visitors come back", "error", err)
			continue
		}
		p.log.Debug("sessions of the former process taken", "new", n)
	}
}
