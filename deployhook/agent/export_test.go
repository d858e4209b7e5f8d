package agent

import "time"

// SetStopWait says how long an instance waits for silent proxies.
func (o *Options) SetStopWait(d time.Duration) { o.stopWait = d }

// Heard is when a proxy gave a sign of life last.
func (a *Agent) Heard(proxy string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.heard[proxy]
}

// NoteMoved looks for signs of life at the open connections.
func (a *Agent) NoteMoved() { a.web.NoteMoved() }
