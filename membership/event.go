package membership

import (
	"context"
	"log/slog"
	"strconv"
	"sync"

	"github.com/hashicorp/serf/serf"
)

// eventRevision is the one user event: the catalog has reached a revision.
const eventRevision = "revision"

// hub tells subscribers that the list has changed. A subscriber that is busy
// misses nothing but repetitions: it reads the list, which is always whole.
type hub struct {
	mu     sync.Mutex
	subs   map[chan struct{}]struct{}
	closed bool
}

func (h *hub) subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(ch)
		return ch, func() {}
	}
	if h.subs == nil {
		h.subs = map[chan struct{}]struct{}{}
	}
	h.subs[ch] = struct{}{}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.subs, ch)
	}
}

func (h *hub) signal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.subs {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for ch := range h.subs {
		close(ch)
	}
	h.subs = nil
}

// Subscribe returns a channel that gets a signal after the list of members has
// changed; several changes may make one signal. The channel is closed when the
// cluster is. cancel ends the subscription.
func (c *Cluster) Subscribe() (changed <-chan struct{}, cancel func()) { return c.hub.subscribe() }

// follow takes serf's events until serf has shut down: serf waits for a reader
// while it holds its locks, so that leaving early would hang it.
func (c *Cluster) follow() {
	for {
		select {
		case e := <-c.events:
			c.take(e)
		case <-c.serf.ShutdownCh():
			return
		}
	}
}

func (c *Cluster) take(e serf.Event) {
	switch e := e.(type) {
	case serf.MemberEvent:
		for _, m := range e.Members {
			if m.Name != c.options.Name && e.Type != serf.EventMemberReap {
				level := slog.LevelInfo
				if e.Type == serf.EventMemberFailed {
					level = slog.LevelWarn
				}
				c.log.Log(context.Background(), level, "member "+words[e.Type], "member", m.Name, "addr", nodeOf(m).Addr)
			}
		}
		c.snapshot.changed()
		c.hub.signal()
	case serf.UserEvent:
		if e.Name != eventRevision || len(e.Payload) > 20 {
			return
		}
		if r, err := strconv.ParseInt(string(e.Payload), 10, 64); err == nil && r > 0 {
			c.nudges.received(r)
		}
	}
}

var words = map[serf.EventType]string{
	serf.EventMemberJoin:   "joined",
	serf.EventMemberLeave:  "left",
	serf.EventMemberFailed: "does not answer gossip",
	serf.EventMemberUpdate: "changed",
}
