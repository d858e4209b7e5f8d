package http2

import (
	"slices"
	"testing"
	"time"

	"portico/proxy/wire"
)

// order opens a stream for each priority, with a body of that size for each, and tells which stream each DATA frame is of. The client
// takes step bytes at a time.
func order(t *testing.T, size, step int, pause time.Duration, priorities ...string) (ids []uint32, at []time.Duration) {
	t.Helper()
	s := newServer(t, func(a *asked) reply { return reply{status: 200, body: make([]byte, size)} })
	w := newScript()
	w.WriteString(preface)
	w.frame(frameSettings, 0, 0, 0, settingWindow, 0x10, 0, 0, 0).frame(frameSettings, flagAck, 0).frame(frameWindow, 0, 0, 0x10, 0, 0, 0)
	// The first answer fills the output, so that all others wait.
	w.headers(1, true, with(browser, [2]string{"priority", "u=0"}))
	for i, p := range priorities {
		fields := with(browser, [2]string{"priority", p})
		if p == "" {
			fields = fields[:len(fields)-1]
		}
		w.headers(uint32(2*i+3), true, fields)
	}
	s.stuff(w.take())
	var out []byte
	now := time.Second
	for p := s.c.Pending(); len(p) > 0; p = s.c.Pending() {
		n := min(step, len(p))
		out = append(out, p[:n]...)
		now += pause
		s.c.Now(int64(now))
		s.c.Wrote(n, wire.More)
		s.act()
		for len(out) >= frameHead && len(out) >= frameHead+parseFrame(out).length {
			if f := parseFrame(out); f.kind == frameData {
				ids, at = append(ids, f.id), append(at, now)
			}
			out = out[frameHead+parseFrame(out).length:]
		}
	}
	s.ends()
	return ids, at
}

// TestOrder: the more urgent answer goes first, answers of one urgency one after the other or in turns, as the client wants it (RFC
// 9218, 10); who says nothing takes turns.
func TestOrder(t *testing.T) {
	const size = 100 << 10
	last := func(ids []uint32, id uint32) int { return len(ids) - 1 - slices.Index(reversed(ids), id) }
	ids, _ := order(t, size, 8<<10, 0, "u=5", "u=1", "u=3")
	if a, b, c := last(ids, 3), last(ids, 5), last(ids, 7); !(b < slices.Index(ids, 7) && c < slices.Index(ids, 3) && b < c && c < a) {
		t.Errorf("urgencies 5, 1 and 3 of streams 3, 5 and 7: %v", ids)
	}
	ids, _ = order(t, size, 8<<10, 0, "u=3", "u=3")
	if last(ids, 3) > slices.Index(ids, 5) {
		t.Errorf("one after the other: %v", ids)
	}
	for _, p := range []string{"u=3, i", ""} {
		ids, _ = order(t, size, 8<<10, 0, p, p)
		if slices.Index(ids, 5) > last(ids, 3) {
			t.Errorf("%q takes no turns: %v", p, ids)
		}
	}
}

func reversed(ids []uint32) []uint32 {
	ids = slices.Clone(ids)
	slices.Reverse(ids)
	return ids
}

// TestNobodyStarves: an answer that more urgent ones keep from the line moves all the same, before anybody takes it for dead.
func TestNobodyStarves(t *testing.T) {
	ids, at := order(t, 1<<20, 4<<10, 200*time.Millisecond, "u=0", "u=7", "u=0", "u=6, i")
	for _, id := range []uint32{5, 9} {
		since := time.Second
		for i := range ids {
			if ids[i] != id {
				continue
			}
			if wait := at[i] - since; wait > 20*time.Second {
				t.Errorf("stream %d waits for %v", id, wait)
			}
			since = at[i]
		}
	}
}
