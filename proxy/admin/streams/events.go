package streams

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"portico/proxy/admin/api"
)

// Events writes server-sent events, each within a deadline.
type Events struct {
	mu sync.Mutex // events and heartbeats come from two goroutines
	w  http.ResponseWriter
	rc *http.ResponseController
}

// NewEvents begins a stream.
func NewEvents(w http.ResponseWriter) *Events {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	s := &Events{w: w, rc: http.NewResponseController(w)}
	_ = s.Send(": begin\n\n")
	return s
}

// Send sends one.
func (s *Events) Send(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.rc.SetWriteDeadline(time.Now().Add(10 * time.Second))
	// In HTTP/2 a deadline that passes ends the stream though nothing is being
	// written, so it must not outlast the write.
	defer func() { _ = s.rc.SetWriteDeadline(time.Time{}) }()
	if _, err := fmt.Fprint(s.w, text); err != nil {
		return err
	}
	return s.rc.Flush()
}

// Beat sends comments until stop is called, which waits for the last of them.
func (s *Events) Beat(every time.Duration) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if s.Send(api.Beat+"\n\n") != nil {
					return
				}
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}
