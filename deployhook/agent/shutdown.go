package agent

import (
	"context"
	"time"

	"portico/internal/pause"
)

// Shutdown stops taking new work, tells the proxies that this member's
// instances are going, waits for the requests under way, stops the instances with
// their grace, and waits until everything has ended or ctx does; then what is left
// is killed. See Leave for an end that spares them. It may be called twice. Before Serve it
// ends nothing of what an agent before this one left: that is found by Serve, see Resumed.
func (a *Agent) Shutdown(ctx context.Context) error {
	a.once.Do(func() { a.shutErr = a.shutdown(ctx, errStopping) })
	return a.shutErr
}

func (a *Agent) shutdown(ctx context.Context, cause error) error {
	a.mu.Lock()
	if a.stop != nil { // what was adopted a moment ago has no unit yet that could end it
		a.mu.Unlock()
		select {
		case <-a.resumed:
		case <-ctx.Done():
		}
		a.mu.Lock()
	}
	a.closing, a.leaving = true, cause == errLeaving
	stop := a.stop
	a.mu.Unlock()
	close(a.stopped)
	defer context.AfterFunc(ctx, a.hurry)()
	if cause == errLeaving {
		a.leave(ctx)
	} else {
		a.sayGoodbye(ctx)
	}
	for _, u := range a.allUnits() {
		u.end(cause)
	}
	a.working.Wait()
	if stop != nil {
		stop()
	}
	if a.listener != nil {
		_ = a.listener.Close()
	}
	a.running.Wait()
	a.web.Close()
	a.members.Close()
	if a.tom != nil {
		a.tom.Close()
	}
	a.hurry()
	a.closeGroups()
	return a.lock.Close()
}

func (a *Agent) allUnits() []*unit {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]*unit, 0, len(a.units))
	for _, u := range a.units {
		list = append(list, u)
	}
	return list
}

// sayGoodbye reports that no instance is left, so that proxies send nothing new
// here, and waits for what is under way before the processes end.
func (a *Agent) sayGoodbye(ctx context.Context) {
	a.mu.Lock()
	none := len(a.instances) == 0 || !a.haveIt
	a.mu.Unlock()
	if none {
		return
	}
	told, cancel := context.WithTimeout(ctx, goodbyeTime)
	defer cancel()
	r := a.report()
	r.Instances = nil
	if _, err := a.members.Report(told, r); err != nil {
		a.log.Warn("proxies not told of the shutdown", "error", err)
		return
	}
	if pause.For(ctx, viewTime) == nil { // until every proxy has the view without them
		open := a.web.Watch()
		await(ctx, emptyTime, func() bool { return !open() })
	}
}

// viewTime is how long a change of the catalog takes to every proxy, and a request from the
// table before it to its instance.
const viewTime = 300 * time.Millisecond
