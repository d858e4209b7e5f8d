package main

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
func (f *frontDoor) who() takeover.Who {
	return takeover.Who{Name: f.conf.Proxy.Name, Version: buildVersion()}
}

// awaitFormer waits for a process that has been told to stop.
func (f *frontDoor) awaitFormer(ctx context.Context) error {
	return statedir.AwaitPredecessor(ctx, f.conf.Dir, f.log)
}

// succeed takes over from the proxy that runs on the folder, if there is one. When
// it returns, that one has closed the catalog, the admin listener and the gossip, and serves
// visitors still.
func (f *frontDoor) succeed(ctx context.Context) error {
	f.offers = &offers{}
	f.adopt()
	var gone time.Time
	for {
		if err := f.awaitFormer(ctx); err != nil {
			return err
		}
		claim, err := takeover.Ask(ctx, f.path(takeoverSocket), f.who(), &f.sockets)
		switch {
		case err == nil:
			f.claim = claim
			f.log.Info("taking over from the running proxy", "pid", claim.PID, "version", claim.Holder.Version)
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
func (f *frontDoor) assume(ctx context.Context) error {
	if f.claim == nil && !f.adopted {
		return nil
	}
	wait := firstChecks
	if f.claim == nil {
		wait = queuedChecks
	}
	limit := time.Now().Add(wait)
	for f.web.Unchecked() > 0 && time.Now().Before(limit) {
		if err := pause.For(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the first checks: %w", err)
		}
	}
	if n := f.web.Unchecked(); n > 0 {
		f.log.Warn("taking over before all instances are checked", "unchecked", n, "waited", wait.String())
	}
	if f.claim != nil {
		if err := f.claim.Ready(ctx); err != nil {
			return err
		}
		f.log.Info("taken over", "pid", f.claim.PID, "version", f.claim.Holder.Version)
	}
	for _, name := range f.sockets.Trim() {
		f.log.Warn("a listening socket that was handed to this process is not used: the address is another one now", "listener", name)
	}
	return nil
}

// disclaim tells the proxy that this one should have taken over from why it does
// not. Everything is closed by then.
func (f *frontDoor) disclaim(why error) {
	if f.claim == nil {
		return
	}
	if !errors.Is(why, takeover.ErrRevoked) {
		f.log.Error("not taken over: the running proxy goes on", "pid", f.claim.PID, "error", why)
		f.claim.Fail(why)
	}
	f.claim.Close()
}

// inherit takes what the former process leaves until it has ended.
func (f *frontDoor) inherit(ctx context.Context) {
	defer close(f.inherited)
	defer f.silent.Store(true)
	defer f.claim.Close()
	defer f.web.Balancer().SettleFormer()
	for {
		_, file, err := f.claim.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				f.log.Info("the former process has ended", "pid", f.claim.PID)
			}
			return
		}
		n, err := f.web.Balancer().MergeSessions(file, f.web.Now().UnixMilli())
		_ = file.Close()
		if err != nil {
			f.log.Warn("sessions of the former process not taken: they are counted as their visitors come back", "error", err)
			continue
		}
		f.log.Debug("sessions of the former process taken", "new", n)
	}
}

// handOver gives the place to another process. It reports whether that has it; if
// not, this one has closed its catalog all the same, see takeBack.
func (f *frontDoor) handOver(ctx context.Context, h *takeover.Heir) bool {
	log := f.log.With("pid", h.PID, "version", h.Who.Version)
	log.Info("a new process takes over: the catalog, the admin listener and the gossip go to it, the traffic goes on here until it is ready")
	err := f.letGo()
	if err == nil {
		err = h.Give(f.who(), &f.sockets)
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
func (f *frontDoor) letGo() error {
	f.rest()
	f.forgetWork()
	if err := f.saveSessions(); err != nil {
		f.log.Warn("sessions not handed over: the new process counts them anew", "error", err)
	}
	return f.catalog.Suspend()
}

// takeBack opens again what letGo closed. It can be tried again.
func (f *frontDoor) takeBack(ctx context.Context) error {
	if err := f.catalog.Resume(ctx); err != nil {
		return err
	}
	_ = os.Remove(f.path(sessionsFile)) // of no use to a later start: they go on changing here
	if err := f.openWork(ctx); err != nil {
		f.rest()
		f.forgetWork()
		return err
	}
	f.work(ctx)
	f.log.Info("everything is taken back", "admin", f.listener.Addr().String())
	return nil
}

// serve waits for what ends the front door: ctx, an error, or a process that has
// taken over, which it returns.
func (f *frontDoor) serve(ctx context.Context) (*takeover.Heir, error) {
	var again <-chan time.Time
	wait := time.Duration(0)
	for {
		var failed <-chan error
		if f.working != nil {
			failed = f.working.failed
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case err := <-f.served:
			return nil, err
		case err := <-failed:
			return nil, err
		case h := <-f.offers.next():
			if f.handOver(ctx, h) {
				return h, nil
			}
			wait, again = 0, time.After(0)
		case <-again:
			wait, again = min(2*wait+100*time.Millisecond, 5*time.Second), nil
			if err := f.takeBack(ctx); err != nil {
				f.log.Warn("not everything is taken back yet: the traffic goes on with the last view", "error", err, "again", wait.String())
				again = time.After(wait)
			}
		}
	}
}

// retire ends a front door from which another process has taken over: it accepts
// nothing any more, its clients are told to come again with their last answers, and what runs may
// finish.
func (f *frontDoor) retire(ctx context.Context, h *takeover.Heir) error {
	limit := f.conf.Proxy.Timeouts.Drain.Std()
	f.log.Info("handed over: running requests may finish", "pid", h.PID, "version", h.Who.Version, "limit", limit.String())
	f.offers.close()
	f.sockets.Close()
	if int64(h.PID) == f.heir.Load() {
		notify(f.log, fmt.Sprintf("MAINPID=%d", h.PID))
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	end, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	life, over := context.WithCancel(context.WithoutCancel(ctx))
	defer over()
	words := make(chan string)
	f.wg.Go(func() { f.hear(life, end, h, words) })
	f.wg.Go(func() { f.outlive(ctx, end, h, words, cut) })
	now, cancel := context.WithCancel(drain)
	cancel()
	f.web.Ease(now)
	f.leaveSessions(h)
	// Who has said nothing for a third of the time is about as likely to do so in the next moment as in the
	// two thirds to come; those are for requests and upgraded connections.
	ease, cancel := context.WithTimeout(drain, limit/3)
	defer cancel()
	f.web.Ease(ease)
	err := f.web.Shutdown(end)
	f.leaveSessions(h)
	if end.Err() != nil {
		err = nil // outlive has said so
	}
	cut(nil)
	if f.inherited != nil {
		f.relay(ctx, h)
	}
	over()
	for range words { // until nobody listens to h any more
	}
	h.Close()
	f.close()
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
func (f *frontDoor) outlive(ctx, end context.Context, h *takeover.Heir, words <-chan string, cut context.CancelCauseFunc) {
	t := f.conf.Proxy.Timeouts
	began := time.Now()
	former := newFormer(f.conf.Dir, began, t.Tunnels.Std(), f.log)
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
				f.web.Distrust(member)
			default:
				told = true
			}
		case <-leave.C:
			f.leaveSessions(h)
		case <-look.C:
		}
		n, lasted := f.web.Streams(), time.Since(began)
		former.tell(n)
		if why := lastsTooLong(lasted, t, n, told); why != nil {
			f.log.Warn("what is left of requests and streams is cut", "why", why, "streams", n)
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
func (f *frontDoor) hear(life, end context.Context, h *takeover.Heir, words chan<- string) {
	defer close(words)
	for {
		name, err := h.Word(life)
		if err != nil {
			return
		}
		switch {
		case f.claim == nil:
		case name == "":
			_ = f.claim.End()
		default:
			_ = f.claim.Cut(name)
		}
		select {
		case words <- name:
		case <-end.Done():
		}
	}
}

// relay waits for the process before this one, which may have streams yet: what it knows of their sessions finds
// its way to the successor by way of this one.
func (f *frontDoor) relay(ctx context.Context, h *takeover.Heir) {
	relayUntil(ctx.Done(), f.inherited, func() { _ = f.claim.End() }, func() bool {
		f.web.Balancer().Sessions().SweepAll(f.web.Now().UnixMilli())
		return f.leaveSessions(h)
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
func (f *frontDoor) leaveSessions(h *takeover.Heir) bool {
	file, err := os.CreateTemp(f.conf.Dir, sessionsFile+".*.tmp")
	if err == nil {
		defer func() { _ = file.Close() }()
		err = errors.Join(os.Remove(file.Name()), f.web.Balancer().SaveSessions(file), h.Leave(sessionsFile, file))
	}
	if err != nil {
		f.log.Warn("sessions not handed over: the new process counts them as their visitors come back", "error", err)
	}
	return err == nil
}
