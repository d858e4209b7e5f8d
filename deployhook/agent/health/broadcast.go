package health

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"portico/membership/catalog/messages"
)

const (
	tellAfter   = 50 * time.Millisecond // checks of one turn are told together, unless some take longer than this
	writeTime   = 10 * time.Second      // a proxy that takes nothing for so long has to ask anew
	resultsKept = 4096                  // results that may wait for such a proxy
)

// Broadcast tells proxies of the agent's checks. Those of one turn leave in one message.
type Broadcast struct {
	mu        sync.Mutex
	under     int // checks under way; guarded by mu
	listeners map[*listener]struct{}
	late      *time.Timer // tells what is over although others are not; guarded by mu
}

// listener is what one proxy is to be told.
type listener struct {
	results []messages.CheckResult // guarded by the broadcast's mu
	wake    chan struct{}          // capacity 1
}

// NewBroadcast returns one to which nobody listens.
func NewBroadcast() *Broadcast { return &Broadcast{listeners: map[*listener]struct{}{}} }

// Began says that a check is under way; Over or Dropped follows.
func (b *Broadcast) Began() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.under++
}

// Dropped says that a check came to nothing.
func (b *Broadcast) Dropped() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.under--
	b.tellLocked()
}

// Over says what came of a check.
func (b *Broadcast) Over(r messages.CheckResult) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.under--
	b.addLocked(r)
	b.tellLocked()
}

// Gone says at once that an instance takes no connection any more.
func (b *Broadcast) Gone(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addLocked(messages.CheckResult{ID: id, Code: "L4CON"})
	b.sendLocked()
}

// Doubt makes the proxies that listen check an instance themselves, whatever this agent's checks say of it.
func (b *Broadcast) Doubt(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addLocked(messages.CheckResult{ID: id})
	b.sendLocked()
}

func (b *Broadcast) addLocked(r messages.CheckResult) {
	for s := range b.listeners {
		if len(s.results) < resultsKept {
			s.results = append(s.results, r)
		}
	}
}

// tellLocked tells what is over, now or a moment later with the rest.
func (b *Broadcast) tellLocked() {
	switch {
	case b.under <= 0:
		b.sendLocked()
	case len(b.listeners) > 0 && b.late == nil:
		b.late = time.AfterFunc(tellAfter, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.sendLocked()
		})
	}
}

func (b *Broadcast) sendLocked() {
	if b.late != nil {
		b.late.Stop()
		b.late = nil
	}
	for s := range b.listeners {
		if len(s.results) > 0 {
			select {
			case s.wake <- struct{}{}:
			default:
			}
		}
	}
}

// listen begins to note what one proxy is to be told, until the returned function is called.
func (b *Broadcast) listen() (s *listener, end func()) {
	s = &listener{wake: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listeners[s] = struct{}{}
	return s, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners, s)
	}
}

// take returns what is to be told by now.
func (b *Broadcast) take(s *listener) []messages.CheckResult {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := s.results
	s.results = nil
	return list
}

// ServeHTTP tells a proxy of each check for as long as it listens. So it needs to make none of its own while all is well.
func (b *Broadcast) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, end := b.listen()
	defer end()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out, lines := http.NewResponseController(w), json.NewEncoder(w)
	for out.Flush() == nil {
		select {
		case <-r.Context().Done():
			return
		case <-s.wake:
		}
		list := b.take(s)
		if len(list) == 0 {
			continue // they went with those before
		}
		_ = out.SetWriteDeadline(time.Now().Add(writeTime))
		if lines.Encode(list) != nil {
			return
		}
	}
}
