package deployhook

import (
	"sync"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// live holds what agents reported last. It is in memory only: a report comes
// every few seconds, and the catalog is told about changes of state alone.
type live struct {
	mu      sync.Mutex
	members map[string]*memberReport
	idle    map[string]time.Time // instance to when it was first reported without being wanted
	told    map[string]sent      // member to the wanted state that it got last
}

// memberReport is the last report of one member.
type memberReport struct {
	instances []messages.InstanceReport
	memory    messages.MemoryReport
	at        time.Time
	changed   map[string]time.Time // site and release to when its progress last changed
}

func newLive() *live {
	return &live{members: map[string]*memberReport{}, idle: map[string]time.Time{}, told: map[string]sent{}}
}

func (l *live) sent(member string) (sent, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.told[member]
	return s, ok
}

func (l *live) setSent(member string, s sent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told[member] = s
}

// seenFor is how long the view that was looked at for a member is kept after it asked last.
const seenFor = 2 * maxWait

// saw notes that at a view the member's wanted state is what it was last told.
func (l *live) saw(member string, last sent, v *catalog.View) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.told[member]; ok && s.revision == last.revision && s.sum == last.sum {
		s.seen, s.looked = v, time.Now()
		l.told[member] = s
	}
}

func pairKey(site, release string) string { return site + "/" + release }

// take replaces a member's report.
func (l *live) take(member string, r messages.Report, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.members[member]
	next := &memberReport{instances: r.Instances, memory: r.Memory, at: now, changed: map[string]time.Time{}}
	for _, in := range r.Instances {
		key := pairKey(in.Site, in.Release)
		next.changed[key] = now
		if old == nil {
			continue
		}
		for _, was := range old.instances {
			if pairKey(was.Site, was.Release) == key && sameProgress(was, in) {
				next.changed[key] = old.changed[key]
			}
		}
	}
	l.members[member] = next
}

func sameProgress(a, b messages.InstanceReport) bool {
	return a.ID == b.ID && a.Progress.Step == b.Progress.Step && a.Progress.Done == b.Progress.Done && a.Progress.Detail == b.Progress.Detail
}

// progress returns a member's word on a release during a deploy, nil if it has said none: the youngest
// instance's, and a failure only if it belongs to this deploy, because an agent
// remembers why the last attempt failed.
func (l *live) progress(member string, d *catalog.Deploy) (word *messages.InstanceReport, changed time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.members[member]
	if r == nil {
		return nil, time.Time{}
	}
	var best *messages.InstanceReport
	for i := range r.instances {
		in := &r.instances[i]
		if in.Site != d.Site || in.Release != d.Release {
			continue
		}
		if in.State == catalog.InstanceExited && in.Progress.Step != catalog.StepFailed {
			continue // one that ended is told once more, beside the attempt that follows it
		}
		if in.Progress.Step == catalog.StepStopped {
			continue // it asked to stop before its agent heard that the release is wanted again, and goes on then
		}
		if in.Deploy != d.ID && in.Progress.Step != catalog.StepHealthy && in.Progress.Step != catalog.StepInRotation {
			continue
		}
		if best == nil || !in.Started.Before(best.Started) {
			best = in
		}
	}
	if best == nil {
		return nil, r.at
	}
	said := *best
	return &said, r.changed[pairKey(d.Site, d.Release)]
}

// unwanted notes that an instance is reported without being wanted, and returns
// since when.
func (l *live) unwanted(instance string, now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	since, ok := l.idle[instance]
	if !ok {
		since = now
		l.idle[instance] = now
	}
	return since
}

// wanted notes that an instance is wanted, perhaps again.
func (l *live) wanted(instance string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.idle, instance)
}

// settle forgets instances that are gone.
func (l *live) settle(keep func(instance string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for instance := range l.idle {
		if !keep(instance) {
			delete(l.idle, instance)
		}
	}
}

// forget drops members that are not in the catalog any more, and the views of those that do not ask.
func (l *live) forget(known func(member string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for member := range l.members {
		if !known(member) {
			delete(l.members, member)
		}
	}
	for member, s := range l.told {
		switch {
		case !known(member):
			delete(l.told, member)
		case s.seen != nil && time.Since(s.looked) > seenFor:
			s.seen = nil
			l.told[member] = s
		}
	}
}
