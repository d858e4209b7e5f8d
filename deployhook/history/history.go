package history

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

const (
	// mostDeploys and mostEvents bound what is kept for late listeners.
	// A deploy whose history is gone is replayed from its record.
	mostDeploys = 50
	mostEvents  = 1000
)

// History keeps the events of recent deploys and wakes those who listen.
type History struct {
	mu     sync.Mutex
	tracks map[string]*track
	order  []string // deploy ids, oldest first
}

// track is one deploy's events.
type track struct {
	last    catalog.Deploy // the state that the events lead to
	events  []numbered
	next    int
	ended   bool
	changed chan struct{} // closed at the next event
}

// numbered is an event with its place in the track; a progress that replaces an
// older one takes a new number.
type numbered struct {
	n     int
	event messages.Event
	bytes bool // only tells bytes, so the next of its kind replaces it
}

// New returns one without a deploy.
func New() *History { return &History{tracks: map[string]*track{}} }

// track returns the deploy's track, which is made when it is not there.
func (h *History) trackLocked(id string) *track {
	if t := h.tracks[id]; t != nil {
		return t
	}
	t := &track{changed: make(chan struct{})}
	t.last.ID = id
	h.tracks[id] = t
	h.order = append(h.order, id)
	if len(h.order) > mostDeploys {
		delete(h.tracks, h.order[0])
		h.order = h.order[1:]
	}
	return t
}

// Observe adds what is new in a deploy's record. It reports whether the deploy, which was seen
// running before, has ended: to one caller, once.
func (h *History) Observe(d *catalog.Deploy, now time.Time) (ended bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.trackLocked(d.ID)
	if t.ended {
		return false
	}
	if t.last.State == "" {
		text := "deploy of " + d.Site + " begins"
		switch {
		case d.Settings:
			text = "other settings of " + d.Site + " begin"
		case d.Rollback:
			text = "rollback of " + d.Site + " begins"
		}
		t.add(messages.Event{At: d.Created, Deploy: d.ID, State: catalog.DeployRunning, Message: text}, false)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Members)) {
		p, was := d.Members[name], t.last.Members[name]
		if p.Step != was.Step || p.Detail != was.Detail {
			t.add(messages.Event{At: now, Deploy: d.ID, Member: name, Progress: &p, Message: describe(p)}, false)
		}
	}
	if d.State != catalog.DeployRunning {
		t.add(messages.Event{At: now, Deploy: d.ID, State: d.State, Message: outcome(d)}, false)
		t.ended = true
	}
	ended = t.ended && t.last.State == catalog.DeployRunning
	t.last = *d
	return ended
}

// Bytes adds how far a member's transfer is.
func (h *History) Bytes(id, member string, p catalog.MemberProgress, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.tracks[id]
	if t == nil || t.ended || p.Total == 0 {
		return
	}
	for _, e := range t.events {
		if e.bytes && e.event.Member == member && e.event.Progress.Done == p.Done {
			return
		}
	}
	t.add(messages.Event{At: now, Deploy: id, Member: member, Progress: &p, Message: describe(p)}, true)
}

// Note adds a sentence about the deploy as a whole.
func (h *History) Note(id, text string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trackLocked(id).add(messages.Event{At: now, Deploy: id, Message: text}, false)
}

func (t *track) add(e messages.Event, bytes bool) {
	if bytes {
		t.events = slices.DeleteFunc(t.events, func(old numbered) bool { return old.bytes && old.event.Member == e.Member })
	}
	if len(t.events) >= mostEvents {
		t.events = t.events[1:]
	}
	t.next++
	t.events = append(t.events, numbered{t.next, e, bytes})
	close(t.changed)
	t.changed = make(chan struct{})
}

// After returns the events behind number n, whether the deploy has ended, and a
// channel that closes when there is more.
func (h *History) After(id string, n int) (events []messages.Event, last int, ended bool, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.trackLocked(id)
	for _, e := range t.events {
		if e.n > n {
			events = append(events, e.event)
		}
	}
	return events, t.next, t.ended, t.changed
}

// describe says a step for people.
func describe(p catalog.MemberProgress) string {
	text := string(p.Step)
	if p.Step == catalog.StepFetching && p.Total > 0 {
		text += fmt.Sprintf(" %d of %d bytes", p.Done, p.Total)
	}
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	return text
}

func outcome(d *catalog.Deploy) string {
	switch {
	case d.State == catalog.DeploySucceeded && d.Hint != "":
		return "succeeded: " + d.Hint
	case d.State == catalog.DeploySucceeded:
		return "succeeded"
	case d.Error != "":
		return string(d.State) + ": " + d.Error
	}
	return string(d.State)
}

// Follows reports whether the deploy has a track that has not seen its end.
func (h *History) Follows(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.tracks[id]
	return t != nil && !t.ended
}
