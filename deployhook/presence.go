package deployhook

import (
	"sync"
	"time"
)

// awayAfter is how long a member may be silent. An agent always has a request
// for its wanted state open or about to be opened, so this covers a slow
// machine and a lost packet or two.
const awayAfter = 10 * time.Second

// presence knows which members have been heard of.
type presence struct {
	mu    sync.Mutex
	since time.Time // before this nobody could be heard
	seen  map[string]time.Time
	open  map[string]int // requests that wait here
}

func newPresence(now time.Time) *presence {
	return &presence{since: now, seen: map[string]time.Time{}, open: map[string]int{}}
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

// away reports whether a member has been silent for too long. hint is gossip's
// opinion: while it is good, an open request proves presence; while it is not,
// only a fresh one does.
func (p *presence) away(member string, now time.Time, hint bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if hint && p.open[member] > 0 {
		return false
	}
	last := p.seen[member]
	if last.Before(p.since) {
		last = p.since
	}
	return now.Sub(last) > awayAfter
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
}
