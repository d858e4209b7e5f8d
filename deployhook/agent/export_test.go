package agent

import "time"

// SetStopWait says how long an instance waits for silent proxies.
func (o *Options) SetStopWait(d time.Duration) { o.stopWait = d }

// Relay joins a proxy's connection with an instance's.
var Relay = relay

// NewFeeding makes the way of a proxy's bytes to an instance.
var NewFeeding = newFeeding

// Answered says that the instance has sent something.
func (f *feeding) Answered() { f.answered() }

// Starved reports whether an instance that has ended was given nothing since its last byte.
func (f *feeding) Starved() bool { return f.starved() }

// Heard is when a proxy gave a sign of life last.
func (a *Agent) Heard(proxy string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.heard[proxy]
}

// NoteMoved looks for signs of life at the open connections.
func (a *Agent) NoteMoved() { a.web.noteMoved() }
