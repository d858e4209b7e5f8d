package agent

import (
	"slices"
	"strings"
	"time"
)

// stopWaiter is an instance that wants to stop and waits for the word of every proxy.
type stopWaiter struct {
	free chan struct{}   // closed once nobody needs it
	said map[string]bool // the proxies that do not need it any more
}

// heardOf notes that a proxy lives: it answered, it has connected to this machine, or it has moved bytes of a connection
// that was there already. One that does none of it can send nothing here.
func (a *Agent) heardOf(proxy string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard[proxy] = time.Now()
}

// answered takes in the answer of a proxy to a report: what it, and those that it could
// ask, need no more. What a proxy said before does not count: it may have changed its mind.
func (a *Agent) answered(answer reportAnswer) {
	names := a.peers.counted()
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
	// stopAsk is how often a stopping instance is reported while it waits, and connections are looked at for signs of life.
	stopAsk = 500 * time.Millisecond
	// stopDoubts is at which of these times proxies are made to check it: they connect for that, whatever health.interval is.
	stopDoubts = 4
)

// askProxies asks for the proxies' word on an instance that wants to stop, and for a sign of life of those that this
// machine's reports do not reach. n counts the times.
func (a *Agent) askProxies(instance string, n int) {
	signal(a.dirty)
	a.web.noteMoved()
	if n%stopDoubts == 0 {
		a.checks.Doubt(instance)
	}
}

// patience is how much longer to wait at now for the word of the proxies, which were asked
// at begun: wait after each of those whose word is missing was last heard, or was asked if that
// was later. With it comes who is waited for.
func (a *Agent) patience(l *stopWaiter, begun, now time.Time) (left time.Duration, missing []string) {
	names := a.peers.counted()
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

// patience is how much longer to wait for the proxies' word, at now, since they were asked at
// begun and heard last: wait after the later of both.
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
