package agent

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"portico/deployhook/agent/process"
)

const (
	// serveOn is how long an agent that leaves serves on while the connections that
	// it had end: the proxies keep none of them, so that each ends with its request.
	// Who waits for the agent behind it does not, so it may last.
	serveOn = 5 * time.Second
	// lastAnswers is how long it then waits, deaf, for what began meanwhile. Everybody
	// who comes waits for the next agent in that time.
	lastAnswers = 3 * time.Second
	// goodbyeTime bounds the last word to the proxies.
	goodbyeTime = 2 * time.Second
	// emptyTime is how long requests may take that were under way when an agent
	// began to end its sites; a site's own grace comes after it.
	emptyTime = 3 * time.Second
	// openLook is between two looks at the connections that are left.
	openLook = 10 * time.Millisecond
)

// Leave ends the agent and leaves its sites running, for the next agent on the same
// directory to adopt. It tells the proxies, so that they keep no connection to this
// machine, and lets what is under way end; what lasts is cut after a few seconds. Where
// no agent can adopt (Windows) it is Shutdown. Of Leave and Shutdown the first counts.
func (a *Agent) Leave(ctx context.Context) error {
	if !process.CanAdopt {
		return a.Shutdown(ctx)
	}
	a.once.Do(func() { a.shutErr = a.shutdown(ctx, errLeaving) })
	return a.shutErr
}

// leave lets go of the proxies' connections before the processes are left alone.
func (a *Agent) leave(ctx context.Context) {
	a.mu.Lock()
	idle := len(a.instances) == 0
	a.mu.Unlock()
	if a.listener == nil || idle {
		return
	}
	open := a.web.Watch()
	a.tellLeaving(ctx)
	await(ctx, serveOn, func() bool { return !open() })
	_ = a.listener.Close()
	await(ctx, lastAnswers, a.web.Quiet)
}

// tellLeaving tells every proxy that this agent goes and its instances stay. A proxy that
// cannot be told finds out by a refused connection.
func (a *Agent) tellLeaving(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, goodbyeTime)
	defer cancel()
	r := a.report()
	r.Copy = true
	body, err := json.Marshal(r)
	if err != nil {
		a.log.Warn("proxies not told of the restart", "error", err)
		return
	}
	proxies := a.members.Recipients("")
	if len(proxies) == 0 {
		proxies = a.members.Order()
	}
	var wg sync.WaitGroup
	for _, x := range proxies {
		wg.Go(func() {
			if _, err := a.members.ReportTo(ctx, x, body); err != nil {
				a.log.Debug("a proxy was not told of the restart", "proxy", x.Name, "error", err)
			}
		})
	}
	wg.Wait()
}

// await waits until done holds, for limit at most.
func await(ctx context.Context, limit time.Duration, done func() bool) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	look := time.NewTicker(openLook)
	defer look.Stop()
	for !done() {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}
