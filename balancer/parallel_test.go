package balancer_test

import (
	"bytes"
	"testing"

	"portico/balancer"
)

// handover is two processes of one proxy and what the first leaves to the second.
type handover struct {
	t         *testing.T
	old, next *world
	told      int // requests that the application answered and that told of the loss
}

// leave saves the table of the first process for the second, which reads it or takes it in beside its own.
func (h *handover) leave(first bool) {
	h.t.Helper()
	var file bytes.Buffer
	if err := h.old.b.SaveSessions(&file); err != nil {
		h.t.Fatal(err)
	}
	read := h.next.b.MergeSessions
	if first {
		read = h.next.b.RestoreSessions
	}
	if _, err := read(bytes.NewReader(file.Bytes()), h.old.now); err != nil {
		h.t.Fatal(err)
	}
}

// end has a request answered by the application, or not, and returns the cookie that the visitor has then.
func (h *handover) end(w *world, c *balancer.Choice, cookie []byte, answered bool) []byte {
	h.t.Helper()
	if c.Upstream != w.up("b") {
		h.t.Errorf("a request is at %v", c.Upstream)
	}
	if !answered {
		w.p.Done(c, balancer.Outcome{Now: w.now, Result: balancer.ConnectFailed})
		return cookie
	}
	if c.Lost != balancer.CauseNone {
		h.told++
	}
	if c.Issue {
		cookie = w.p.AppendCookie(nil, c)
	}
	w.p.Done(c, balancer.Outcome{Now: w.now, Status: 200, Reused: true})
	return cookie
}

// TestParallelRequestsAcrossATakeOverTellOnce: a visitor's session moves in a process that hands over, and another request of the same
// visitor comes to the next process before the first one has its answer. One request tells of the loss, whichever is answered.
func TestParallelRequestsAcrossATakeOverTellOnce(t *testing.T) {
	for i := range 32 {
		late, passes, answered, dies, pause := i&1 != 0, i&2 != 0, i&4 != 0, i&8 != 0, i&16 != 0
		old := newWorld(t, balancer.Config{}, "a", "b")
		next := newWorld(t, balancer.Config{}, "a", "b")
		next.setKeys(old.keys)
		h := &handover{t: t, old: old, next: next}
		cookie := old.visitorOf("a")
		old.get(cookie)
		old.get(cookie)
		gone := balancer.Evidence{From: balancer.FromAgent, Exited: true}
		for _, w := range []*world{old, next} {
			w.up("a").Observe(gone, old.now)
		}
		old.now += 2000
		if late { // the move begins when the next process has the table already, and knows of it as soon as it serves
			next.now = old.now
			h.leave(true)
		}
		moving := old.pick(balancer.Request{Cookie: cookie})
		if moving.Lost != balancer.CauseExited {
			t.Fatalf("%+v", moving)
		}
		next.now = old.now
		h.leave(!late)
		has := cookie
		if passes {
			next.now += 500
			c := next.p.Picked(&balancer.Request{Now: next.now, Cookie: cookie})
			has = h.end(next, &c, has, true)
		}
		old.now += 1000
		next.now = old.now
		if got := h.end(old, &moving, has, answered); answered {
			has = got
		}
		if dies {
			h.next.b.SettleFormer()
		} else {
			h.leave(false)
			h.leave(false) // a second time changes nothing
			h.next.b.SettleFormer()
		}
		if pause {
			next.now += 60_000 // the visitor pauses
		}
		for range 3 {
			c := next.p.Picked(&balancer.Request{Now: next.now, Cookie: has})
			has = h.end(next, &c, has, true)
		}
		most := 1
		if dies && answered {
			most = 2 // nobody is left who knows that it was told
		}
		if h.told < 1 || h.told > most {
			t.Errorf("late %v, another passes %v, answered %v, the process dies %v, a pause %v: told %d times", late, passes, answered, dies, pause, h.told)
		}
	}
}
