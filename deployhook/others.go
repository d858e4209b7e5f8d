package deployhook

import (
	"slices"
	"sync"
	"time"

	"portico/membership/catalog"
)

const (
	// freshTime is how long an answer counts. What another proxy holds is not known
	// without a fresh one.
	freshTime = 4 * time.Second
	// closedTime is how long another proxy must have sent no new visitors to an
	// instance before its numbers count as final: a request may be on its way.
	closedTime = time.Second
)

// Held is what one proxy holds for an instance, and what it thinks of it.
type Held struct {
	Sessions   int    `json:"sessions"`
	InFlight   int    `json:"in_flight"`
	Known      bool   `json:"known"`                 // there are no sessions that it has not counted
	Open       bool   `json:"open,omitempty"`        // it sends new visitors there
	InRotation bool   `json:"in_rotation,omitempty"` // its own checks pass
	Failed     string `json:"failed,omitempty"`
}

// others knows what the other proxies hold, as they said last.
type others struct {
	mu    sync.Mutex
	start time.Time
	known map[string]*otherProxy
}

// otherProxy is one of them.
type otherProxy struct {
	heard  time.Time // when it answered last; zero: never
	err    error     // of the last question; nil: it answered
	answer peerAnswer
	closed map[string]time.Time // instance to since when it sends no new visitors there
}

func newOthers(now time.Time) *others {
	return &others{start: now, known: map[string]*otherProxy{}}
}

// note takes in what a proxy answered.
func (o *others) note(name string, a peerAnswer, err error, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.known[name]
	if p == nil {
		p = &otherProxy{closed: map[string]time.Time{}}
		o.known[name] = p
	}
	if p.err = err; err != nil {
		return
	}
	p.heard, p.answer = now, a
	for id, h := range a.Instances {
		switch _, noted := p.closed[id]; {
		case h.Open:
			delete(p.closed, id)
		case !noted:
			p.closed[id] = now
		}
	}
	for id := range p.closed {
		if _, asked := a.Instances[id]; !asked {
			delete(p.closed, id)
		}
	}
}

// forget drops proxies that are not members any more.
func (o *others) forget(list []catalog.Member) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name := range o.known {
		if !slices.ContainsFunc(list, func(m catalog.Member) bool { return m.Name == name }) {
			delete(o.known, name)
		}
	}
}

// held returns what a proxy holds for an instance. fresh is false while it has not
// said so lately; silent is then for how long it has not been heard.
func (o *others) held(proxy, instance string, now time.Time) (h Held, settled, fresh bool, silent time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.known[proxy]
	if p == nil {
		return h, false, false, now.Sub(o.start)
	}
	silent = now.Sub(later(o.start, p.heard))
	h, asked := p.answer.Instances[instance]
	if !asked || p.err != nil || p.heard.IsZero() || silent > freshTime {
		return h, false, false, silent
	}
	since, closed := p.closed[instance]
	return h, closed && now.Sub(since) >= closedTime, true, silent
}

// said returns what a proxy said of an instance, if it said so lately.
func (o *others) said(proxy, instance string, now time.Time) (h Held, asked bool) {
	h, _, fresh, _ := o.held(proxy, instance, now)
	return h, fresh
}

// answers reports whether a proxy answers at all.
func (o *others) answers(proxy string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.known[proxy]
	return p != nil && p.err == nil && now.Sub(p.heard) <= idleAskEvery+freshTime
}

// silent returns the names of the proxies that did not answer the last question.
func (o *others) silent(list []catalog.Member, now time.Time) (names []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range list {
		if p := o.known[m.Name]; p == nil || p.err != nil || now.Sub(p.heard) > idleAskEvery+freshTime {
			names = append(names, m.Name)
		}
	}
	return names
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
