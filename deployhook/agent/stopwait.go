package agent

import (
	"slices"
	"strings"
	"time"

	"portico/deployhook/agent/members"
)

// stopWaiter is an instance that wants to stop and waits for the word of every proxy.
type stopWaiter struct {
	free chan struct{}   // closed once nobody needs it
	said map[string]bool // the proxies that do not need it any more
}

// heardOf notes that a proxy lives. It did one of three things: it answered a report, it connected to this
// machine, or it moved bytes of an open connection. A proxy that does none of them can send nothing here.
func (a *Agent) heardOf(proxy string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard[proxy] = time.Now()
}

// answered takes in the answer of a proxy to a report. The answer names the instances that this proxy does not
// need any more, and those that other proxies told it they do not need. The newest word of a proxy replaces its
// earlier one, because it may have changed its mind.
func (a *Agent) answered(answer members.Answer) {
	names := a.members.Counted()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard[answer.Proxy] = time.Now()
	for id, l := range a.stopOK {
		l.said[answer.Proxy] = slices.Contains(answer.StopOK, id)
		for proxy, free := range answer.Others {
			l.said[proxy] = slices.Contains(free, id)
		}
		if len(l.waiting(names)) == 0 && (len(names) > 0 || l.said[answer.Proxy]) {
			close(l.free)
			delete(a.stopOK, id)
		}
	}
}

// waiting returns the proxies whose word is missing.
func (l *stopWaiter) waiting(names []string) (missing []string) {
	for _, name := range names {
		if !l.said[name] {
			missing = append(missing, name)
		}
	}
	return missing
}

const (
	// stopAsk is the pace at which the agent reports an instance that waits to stop, and looks at its open
	// connections for signs of life.
	stopAsk = 500 * time.Millisecond
	// stopDoubts: each fourth time the agent also makes the proxies check the instance. They connect for a check,
	// and so show that they live, however long health.interval is.
	stopDoubts = 4
)

// askProxies asks the proxies whether an instance may stop. A proxy that reports do not reach is made to give
// a sign of life. n counts the calls.
func (a *Agent) askProxies(instance string, n int) {
	signal(a.dirty)
	a.web.NoteMoved()
	if n%stopDoubts == 0 {
		a.checks.Doubt(instance)
	}
}

// patience returns how much longer, from now on, an instance waits for the proxies' word, and for which proxies. Begun
// is when they were asked. Each proxy whose word is missing gets Options.stopWait from when it was asked, or
// from when it was last heard, whichever is later.
func (a *Agent) patience(l *stopWaiter, begun, now time.Time) (left time.Duration, missing []string) {
	names := a.members.Counted()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(names) == 0 { // none is known by name: any will do
		last := begun
		for _, at := range a.heard {
			last = later(last, at)
		}
		return patience(a.o.stopWait, begun, last, now), nil
	}
	for _, name := range l.waiting(names) {
		if more := patience(a.o.stopWait, begun, a.heard[name], now); more > 0 {
			left = max(left, more)
			missing = append(missing, name)
		}
	}
	return left, missing
}

// patience returns what is left, at now, of a wait that began when the proxies were asked or when one was
// last heard, whichever is later.
func patience(wait time.Duration, begun, heard, now time.Time) time.Duration {
	return wait - now.Sub(later(begun, heard))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// waitsFor words who is waited for.
func waitsFor(missing []string) string {
	if len(missing) == 0 {
		return "waits until the proxies have let go of it"
	}
	return "waits until " + strings.Join(missing, ", ") + " have let go of it"
}
