package agent

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"portico/internal/descriptors"
	"portico/membership/catalog"
)

const (
	checksTold  = 50 * time.Millisecond // checks of one beat are told together, unless some take longer than this
	checksWrite = 10 * time.Second      // a proxy that takes nothing for so long has to ask anew
	checksKept  = 4096                  // results that may wait for such a proxy
)

// checkNews tells proxies of the agent's checks. Those of one beat leave in one message.
type checkNews struct {
	mu      sync.Mutex
	under   int // checks under way; guarded by mu
	streams map[*checkStream]struct{}
	late    *time.Timer // tells what is over although others are not; guarded by mu
}

// checkStream is what one proxy is to be told.
type checkStream struct {
	results []catalog.CheckResult // guarded by the news' mu
	wake    chan struct{}         // capacity 1
}

func newCheckNews() *checkNews { return &checkNews{streams: map[*checkStream]struct{}{}} }

// began says that a check is under way; over or dropped follows.
func (n *checkNews) began() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.under++
}

// dropped says that a check came to nothing.
func (n *checkNews) dropped() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.under--
	n.tellLocked()
}

// over says what came of a check.
func (n *checkNews) over(r catalog.CheckResult) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.under--
	n.addLocked(r)
	n.tellLocked()
}

// gone says at once that an instance takes no connection any more.
func (n *checkNews) gone(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addLocked(catalog.CheckResult{ID: id, Code: "L4CON"})
	n.sendLocked()
}

// doubt makes the proxies that listen check an instance themselves, whatever this agent's checks say of it.
func (n *checkNews) doubt(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addLocked(catalog.CheckResult{ID: id})
	n.sendLocked()
}

func (n *checkNews) addLocked(r catalog.CheckResult) {
	for s := range n.streams {
		if len(s.results) < checksKept {
			s.results = append(s.results, r)
		}
	}
}

// tellLocked tells what is over, now or a moment later with the rest.
func (n *checkNews) tellLocked() {
	switch {
	case n.under <= 0:
		n.sendLocked()
	case len(n.streams) > 0 && n.late == nil:
		n.late = time.AfterFunc(checksTold, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.sendLocked()
		})
	}
}

func (n *checkNews) sendLocked() {
	if n.late != nil {
		n.late.Stop()
		n.late = nil
	}
	for s := range n.streams {
		if len(s.results) > 0 {
			signal(s.wake)
		}
	}
}

// listen begins to note what one proxy is to be told, until the returned function is called.
func (n *checkNews) listen() (s *checkStream, end func()) {
	s = &checkStream{wake: make(chan struct{}, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.streams[s] = struct{}{}
	return s, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.streams, s)
	}
}

// take returns what is to be told by now.
func (n *checkNews) take(s *checkStream) []catalog.CheckResult {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := s.results
	s.results = nil
	return list
}

// lastRoom is whether visitors could have descriptors when that was looked at last: checks of one beat share a look.
type lastRoom struct {
	mu sync.Mutex
	at time.Time // guarded by mu
	ok bool      // guarded by mu
}

// there reports whether there are descriptors for a visitor and the connection to an instance, as of checksTold ago at most.
func (l *lastRoom) there(traffic *descriptors.Traffic) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.at.IsZero() || now.Sub(l.at) > checksTold {
		l.at, l.ok = now, traffic.Room(2)
	}
	return l.ok
}

// serveChecks tells a proxy of each check for as long as it listens. So it needs to make none of its own while all is well.
func (a *Agent) serveChecks(w http.ResponseWriter, r *http.Request) {
	s, end := a.checks.listen()
	defer end()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out, lines := http.NewResponseController(w), json.NewEncoder(w)
	for out.Flush() == nil {
		select {
		case <-r.Context().Done():
			return
		case <-s.wake:
		}
		list := a.checks.take(s)
		if len(list) == 0 {
			continue // they went with those before
		}
		_ = out.SetWriteDeadline(time.Now().Add(checksWrite))
		if lines.Encode(list) != nil {
			return
		}
	}
}
