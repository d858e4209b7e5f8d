package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"portico/internal/pause"
	"portico/internal/takeover"
)

// takeoverSocket lies in the state folder while a proxy runs that can be taken
// over: a second one that is started on the folder asks there, see docs/decisions/take-over.md.
const takeoverSocket = "takeover.sock"

const (
	// firstChecks bounds how long a proxy that takes over waits for its first checks of
	// the instances: one that does not answer must not keep the others.
	firstChecks = 10 * time.Second

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
	return awaitPredecessor(ctx, f.conf.Dir, f.log)
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
	limit := time.Now().Add(firstChecks)
	for f.web.Unchecked() > 0 && time.Now().Before(limit) {
		if err := pause.For(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the first checks: %w", err)
		}
	}
	if n := f.web.Unchecked(); n > 0 {
		f.log.Warn("taking over before all instances are checked", "unchecked", n, "waited", firstChecks.String())
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
	defer f.claim.Close()
	for {
		_, file, err := f.claim.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				f.log.Info("the former process has ended", "pid", f.claim.PID)
			}
			return
		}
		n, err := f.web.Balancer().MergeSessions(file, time.Now().UnixMilli())
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
	f.listener, f.deployer, f.admission, f.gossip, f.working = nil, nil, nil, nil, nil
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
		f.listener, f.deployer, f.admission, f.gossip, f.working = nil, nil, nil, nil, nil
		return err
	}
	f.work(ctx)
	f.log.Info("everything is taken back", "admin", f.listener.Addr().String())
	return nil
}

// serve waits for what ends the front door: ctx, an error, or a process that has
// taken over, which it returns.
func (f *frontDoor) serve(ctx context.Context, served <-chan error) (*takeover.Heir, error) {
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
		case err := <-served:
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
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	now, cancel := context.WithCancel(end)
	cancel()
	f.web.Ease(now)
	f.leaveSessions(h)
	// Who has said nothing for a third of the time is about as likely to do so in the next moment as in the
	// two thirds to come; those are for requests and upgraded connections.
	ease, cancel := context.WithTimeout(end, limit/3)
	defer cancel()
	f.web.Ease(ease)
	err := f.web.Shutdown(end)
	f.leaveSessions(h)
	h.Close()
	f.close()
	if errors.Is(err, context.DeadlineExceeded) {
		f.log.Warn("requests were cut at the end of the drain time", "setting", "proxy.timeouts.drain")
		err = nil
	}
	return err
}

// leaveSessions hands the table of sessions to the heir, which has counted some
// itself by now.
func (f *frontDoor) leaveSessions(h *takeover.Heir) {
	file, err := os.CreateTemp(f.conf.Dir, sessionsFile+".*.tmp")
	if err == nil {
		defer func() { _ = file.Close() }()
		err = errors.Join(os.Remove(file.Name()), f.web.Balancer().SaveSessions(file), h.Leave(sessionsFile, file))
	}
	if err != nil {
		f.log.Warn("sessions not handed over: the new process counts them as their visitors come back", "error", err)
	}
}
