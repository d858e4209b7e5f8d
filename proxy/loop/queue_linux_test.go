package loop

import (
	"testing"
	"time"
)

// TestQueuedStreamIsVisited: a stream that has used up its turn goes on in the next one, also when it is its send that ends late, behind
// the turn's look at the connections of HTTP/2.
func TestQueuedStreamIsVisited(t *testing.T) {
	l := &loop{srv: &server{start: time.Now()}}
	h := &h2Conn{c: &sock{kind: kindClient}}
	s := &session{c: &sock{fd: -1, kind: kindStream, h2: h}, sending: true}
	l.work, l.until = workCheck, 0 // the stage has had its share
	w := sending{s: s, n: 0}
	w.end(l, 0, 0)
	if !s.queued || h.queued != 1 {
		t.Fatalf("queued is %v, of its connection %d: the stream was to wait for the next turn", s.queued, h.queued)
	}
	if len(l.h2s) != 1 || !h.listed {
		t.Errorf("the next turn looks at %d connections: nobody goes on with the stream", len(l.h2s))
	}
}
