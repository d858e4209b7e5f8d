package deployhook

import (
	"sync"
	"time"
)

// awayAfter is how long a member may be silent. An agent always has a request
// for its wanted state open or about to be opened, so this covers a slow
// machine and a lost packet or two.
const awayAfter = 10 * time.Second

// awayDoubted is the same for a member that gossip holds for gone: longer than
// doubtEvery, after which one that lives has come again.
const awayDoubted = 6 * time.Second

// presence knows which members have been heard of.
type presence struct {
	mu      sync.Mutex
	since   time.Time // before this nobody could be heard
	seen    map[string]time.Time
	open    map[string]int       // requests that wait here
	doubted map[string]time.Time // since when gossip has a member for gone
}

func newPresence(now time.Time) *presence {
	return &presence{since: now, seen: map[string]time.Time{}, open: map[string]int{}, doubted: map[string]time.Time{}}
}

// enter notes a request of a member; the returned function notes its end.
func (p *presence) enter(member string, now time.Time) (leave func()) {
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

// away reports whether a member has been silent for too long. alive is gossip's
// opinion: while it is good, an open request proves presence; while it is not,
// only one that has come since does. So gossip alone never decides.
func (p *presence) away(member string, now time.Time, alive bool) bool {
	patience := awayAfter
	if !alive {
		patience = awayDoubted
	}
	return p.silence(member, now, alive) > patience
}

// silence is for how long a member has given no sign of life, by the same evidence.
func (p *presence) silence(member string, now time.Time, alive bool) time.Duration {
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
			last = later(last, p.doubted[member])
		}
	}
	return now.Sub(later(last, p.seen[member]))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// forget drops members that are not in the catalog any more.
func (p *presence) forget(known func(member string) bool) {
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

// silence is for how long nothing was heard of a member.
func (d *Deployer) silence(member string) time.Duration {
	return d.presence.silence(member, time.Now(), d.o.Alive == nil || d.o.Alive(member))
}
