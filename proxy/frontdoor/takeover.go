package frontdoor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"portico/conf"
	"portico/internal/pause"
	"portico/internal/statedir"
	"portico/internal/takeover"
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

// awaitFormer waits for a process that has been told to stop.
func (p *Proxy) awaitFormer(ctx context.Context) error {
	return statedir.AwaitPredecessor(ctx, p.conf.Dir, p.log)
}

// succeed takes over from the proxy that runs on the folder, if there is one. When
// it returns, that one has closed the catalog, the admin listener and the gossip, and serves
// visitors still.
func (p *Proxy) succeed(ctx context.Context) error {
	p.offers = &offers{}
	p.adopt()
	var gone time.Time
	for {
		if err := p.awaitFormer(ctx); err != nil {
			return err
		}
		claim, err := takeover.Ask(ctx, p.path(takeoverSocket), p.who(), &p.sockets)
		switch {
		case err == nil:
			p.claim = claim
			p.log.Info("taking over from the running proxy", "pid", claim.PID, "version", claim.Holder.Version)
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
	if p.claim == nil && !p.adopted {
		return nil
	}
	wait := firstChecks
	if p.claim == nil {
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
	if p.claim != nil {
		if err := p.claim.Ready(ctx); err != nil {
			return err
		}
		p.log.Info("taken over", "pid", p.claim.PID, "version", p.claim.Holder.Version)
	}
	for _, name := range p.sockets.Trim() {
		p.log.Warn("a listening socket that was handed to this process is not used: the address is another one now", "listener", name)
	}
	return nil
}

// disclaim tells the proxy that this one should have taken over from why it does
// not. Everything is closed by then.
func (p *Proxy) disclaim(why error) {
	if p.claim == nil {
		return
	}
	if !errors.Is(why, takeover.ErrRevoked) {
		p.log.Error("not taken over: the running proxy goes on", "pid", p.claim.PID, "error", why)
		p.claim.Fail(why)
	}
	p.claim.Close()
}

// inherit takes what the former process leaves until it has ended.
func (p *Proxy) inherit(ctx context.Context) {
	defer close(p.inherited)
	defer p.silent.Store(true)
	defer p.claim.Close()
	defer p.web.Balancer().SettleFormer()
	for {
		_, file, err := p.claim.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				p.log.Info("the former process has ended", "pid", p.claim.PID)
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

// handOver gives the place to another process. It reports whether that has it; if
// not, this one has closed its catalog all the same, see takeBack.
func (p *Proxy) handOver(ctx context.Context, h *takeover.Heir) bool {
	log := p.log.With("pid", h.PID, "version", h.Who.Version)
	log.Info("a new process takes over: the catalog, the admin listener and the gossip go to it, the traffic goes on here until it is ready")
	err := p.letGo()
	if err == nil {
		err = h.Give(p.who(), &p.sockets)
	}
	if err == nil {
		err = h.Ready(context.WithoutCancel(ctx)) // also when this one is told to stop now: somebody must have the place
	}
	if err == nil {
		err = h.Go()
	}
	if err == nil {
		return true
	}
	h.Revoke()
	h.Close()
	log.Error("the new process has not taken over: this one goes on", "error", err)
	return false
}

// letGo closes what only one process may have open.
func (p *Proxy) letGo() error {
	p.rest()
	p.forgetWork()
	if err := p.saveSessions(); err != nil {
		p.log.Warn("sessions not handed over: the new process counts them anew", "error", err)
	}
	return p.catalog.Suspend()
}

// takeBack opens again what letGo closed. It can be tried again.
func (p *Proxy) takeBack(ctx context.Context) error {
	if err := p.catalog.Resume(ctx); err != nil {
		return err
	}
	_ = os.Remove(p.path(sessionsFile)) // of no use to a later start: they go on changing here
	if err := p.openWork(ctx); err != nil {
		p.rest()
		p.forgetWork()
		return err
	}
	p.work(ctx)
	p.log.Info("everything is taken back", "admin", p.listener.Addr().String())
	return nil
}

// serve waits for what ends the front door: ctx, an error, or a process that has
// taken over, which it returns.
func (p *Proxy) serve(ctx context.Context) (*takeover.Heir, error) {
	var again <-chan time.Time
	wait := time.Duration(0)
	for {
		var failed <-chan error
		if p.working != nil {
			failed = p.working.failed
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case err := <-p.served:
			return nil, err
		case err := <-failed:
			return nil, err
		case h := <-p.offers.next():
			if p.handOver(ctx, h) {
				return h, nil
			}
			wait, again = 0, time.After(0)
		case <-again:
			wait, again = min(2*wait+100*time.Millisecond, 5*time.Second), nil
			if err := p.takeBack(ctx); err != nil {
				p.log.Warn("not everything is taken back yet: the traffic goes on with the last view", "error", err, "again", wait.String())
				again = time.After(wait)
			}
		}
	}
}

// retire ends a front door from which another process has taken over: it accepts
// nothing any more, its clients are told to come again with their last answers, and what runs may
// finish.
func (p *Proxy) retire(ctx context.Context, h *takeover.Heir) error {
	limit := p.conf.Proxy.Timeouts.Drain.Std()
	p.log.Info("handed over: running requests may finish", "pid", h.PID, "version", h.Who.Version, "limit", limit.String())
	p.offers.close()
	p.sockets.Close()
	if int64(h.PID) == p.heir.Load() {
		p.notify(fmt.Sprintf("MAINPID=%d", h.PID))
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	end, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	life, over := context.WithCancel(context.WithoutCancel(ctx))
	defer over()
	words := make(chan string)
	p.wg.Go(func() { p.hear(life, end, h, words) })
	p.wg.Go(func() { p.outlive(ctx, end, h, words, cut) })
	now, cancel := context.WithCancel(drain)
	cancel()
	p.web.Ease(now)
	p.leaveSessions(h)
	// Who has said nothing for a third of the time is about as likely to do so in the next moment as in the
	// two thirds to come; those are for requests and upgraded connections.
	ease, cancel := context.WithTimeout(drain, limit/3)
	defer cancel()
	p.web.Ease(ease)
	err := p.web.Shutdown(end)
	p.leaveSessions(h)
	if end.Err() != nil {
		err = nil // outlive has said so
	}
	cut(nil)
	if p.inherited != nil {
		p.relay(ctx, h)
	}
	over()
	for range words { // until nobody listens to h any more
	}
	h.Close()
	p.Close()
	return err
}

var (
	errDrained   = errors.New("it is longer than proxy.timeouts.drain after the take-over, and no stream is left")
	errTooLong   = errors.New("it is longer than proxy.timeouts.tunnels after the take-over")
	errToldToEnd = errors.New("the proxy stops")
)

// streamsLook is how often a former process counts what it still has, and streamsLeave how often it hands over
// what it knows of sessions: their streams keep them alive.
const (
	streamsLook  = time.Second
	streamsLeave = time.Minute
)

// outlive lets a process from which another has taken over live for as long as its upgraded connections and
// event streams do, and says how many there are. It cuts what is left when that has gone on for too long, or one of
// the two processes is told to stop. Requests that are running have the drain time, as ever.
func (p *Proxy) outlive(ctx, end context.Context, h *takeover.Heir, words <-chan string, cut context.CancelCauseFunc) {
	t := p.conf.Proxy.Timeouts
	began := time.Now()
	former := newFormer(p.conf.Dir, began, t.Tunnels.Std(), p.log)
	defer former.remove()
	look, leave := time.NewTicker(streamsLook), time.NewTicker(streamsLeave)
	defer look.Stop()
	defer leave.Stop()
	stop, told := ctx.Done(), false
	for {
		select {
		case <-end.Done():
			return
		case <-stop:
			stop, told = nil, true
		case member, ok := <-words:
			switch {
			case !ok: // it has died, and another one will come: the streams are none the worse for it
				words = nil
				leave.Stop()
			case member != "":
				p.web.Distrust(member)
			default:
				told = true
			}
		case <-leave.C:
			p.leaveSessions(h)
		case <-look.C:
		}
		n, lasted := p.web.Streams(), time.Since(began)
		former.tell(n)
		if why := lastsTooLong(lasted, t, n, told); why != nil {
			p.log.Warn("what is left of requests and streams is cut", "why", why, "streams", n)
			cut(why)
			return
		}
	}
}

// lastsTooLong returns why a former process with so many streams ends, so long after another has taken over; nil: it
// does not yet.
func lastsTooLong(lasted time.Duration, t conf.ProxyTimeouts, streams int, told bool) error {
	switch {
	case lasted < t.Drain.Std():
		return nil
	case told:
		return errToldToEnd
	case streams == 0:
		return errDrained
	case lasted >= t.Tunnels.Std():
		return errTooLong
	}
	return nil
}

// hear passes on what the successor says, to the process before this one as well, until life is over or the successor has
// ended. After end nobody else here wants to know.
func (p *Proxy) hear(life, end context.Context, h *takeover.Heir, words chan<- string) {
	defer close(words)
	for {
		name, err := h.Word(life)
		if err != nil {
			return
		}
		switch {
		case p.claim == nil:
		case name == "":
			_ = p.claim.End()
		default:
			_ = p.claim.Cut(name)
		}
		select {
		case words <- name:
		case <-end.Done():
		}
	}
}

// relay waits for the process before this one, which may have streams yet: what it knows of their sessions finds
// its way to the successor by way of this one.
func (p *Proxy) relay(ctx context.Context, h *takeover.Heir) {
	relayUntil(ctx.Done(), p.inherited, func() { _ = p.claim.End() }, func() bool {
		p.web.Balancer().Sessions().SweepAll(p.web.Now().UnixMilli())
		return p.leaveSessions(h)
	})
}

// relayUntil leaves what there is again and again until gone, and passes a stop on. A successor that takes nothing
// has died: nothing can be left to it any more.
func relayUntil(stop, gone <-chan struct{}, end func(), leave func() bool) {
	again := time.NewTicker(streamsLeave)
	defer again.Stop()
	for {
		select {
		case <-gone:
			leave()
			return
		case <-stop:
			stop = nil
			end()
		case <-again.C:
			if !leave() {
				again.Stop()
				leave = func() bool { return false }
			}
		}
	}
}

// leaveSessions hands the table of sessions to the heir, which has counted some
// itself by now, and reports whether that went well.
func (p *Proxy) leaveSessions(h *takeover.Heir) bool {
	file, err := os.CreateTemp(p.conf.Dir, sessionsFile+".*.tmp")
	if err == nil {
		defer func() { _ = file.Close() }()
		err = errors.Join(os.Remove(file.Name()), p.web.Balancer().SaveSessions(file), h.Leave(sessionsFile, file))
	}
	if err != nil {
		p.log.Warn("sessions not handed over: the new process counts them as their visitors come back", "error", err)
	}
	return err == nil
}
