// Package presence tells how long nothing was heard of a member, by its own requests and by what gossip holds of it. It asks nobody.
package presence

import (
	"sync"
	"time"
)

// awayAfter is how long a member may be silent. An agent always has a request
// for its wanted state open or about to be opened, so this covers a slow
// machine and a lost packet or two.
const awayAfter = 10 * time.Second

// awayDoubted is the same for a member that gossip holds for gone: longer than the
// poll of such a one stays open, after which one that lives has come again.
const awayDoubted = 6 * time.Second

// Presence knows which members have been heard of.
type Presence struct {
	mu      sync.Mutex
	since   time.Time // before this nobody could be heard
	seen    map[string]time.Time
	open    map[string]int       // requests that wait here
	doubted map[string]time.Time // since when gossip has a member for gone
}

// New returns one that has heard of nobody.
func New(now time.Time) *Presence {
	return &Presence{since: now, seen: map[string]time.Time{}, open: map[string]int{}, doubted: map[string]time.Time{}}
}

// Enter notes a request of a member; the returned function notes its end.
func (p *Presence) Enter(member string, now time.Time) (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[member] = now
	p.open[member]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.seen[member] = time.Now()
		if p.open[member]--; p.open[member] == 0 {
			delete(p.open, member)
		}
	}
}

// Away reports whether a member has been silent for too long. alive is gossip's
// opinion: while it is good, an open request proves presence; while it is not,
// only one that has come since does. So gossip alone never decides.
func (p *Presence) Away(member string, now time.Time, alive bool) bool {
	patience := awayAfter
	if !alive {
		patience = awayDoubted
	}
	return p.Silence(member, now, alive) > patience
}

// Silence is for how long a member has given no sign of life, by the same evidence.
func (p *Presence) Silence(member string, now time.Time, alive bool) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.since
	if alive {
		delete(p.doubted, member)
		if p.open[member] > 0 {
			return 0
		}
	} else {
		if _, known := p.doubted[member]; !known {
			p.doubted[member] = now
		}
		if p.open[member] > 0 {
			last = p.doubted[member]
		}
	}
	return min(now.Sub(last), now.Sub(p.seen[member]))
}

// Forget drops members that are not in the catalog any more.
func (p *Presence) Forget(known func(member string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for member := range p.seen {
		if !known(member) {
			delete(p.seen, member)
		}
	}
	for member := range p.doubted {
		if !known(member) {
			delete(p.doubted, member)
		}
	}
}
