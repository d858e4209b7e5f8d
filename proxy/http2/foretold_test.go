package http2

import (
	"slices"
	"testing"

	"portico/proxy/wire"
)

// TestUrgencyComesFirst: what a client says about the urgency of requests before it sends them decides on the order of the answers, before
// what they say themselves; of many such words the latest are kept.
func TestUrgencyComesFirst(t *testing.T) {
	s := newServer(t, func(*asked) reply { return reply{status: 200, body: make([]byte, 100_000)} })
	w := newScript()
	w.WriteString(preface)
	w.frame(frameSettings, 0, 0, 0, settingWindow, 0x10, 0, 0, 0).frame(frameSettings, flagAck, 0).frame(frameWindow, 0, 0, 0x10, 0, 0, 0)
	for id := byte(101); id < 133; id += 2 { // of requests that never come, more than are kept
		w.frame(framePriorityUpdate, 0, 0, 0, 0, 0, id, 'u', '=', '0')
	}
	w.frame(framePriorityUpdate, 0, 0, 0, 0, 0, 5, 'u', '=', '6')
	w.frame(framePriorityUpdate, 0, 0, 0, 0, 0, 5, 'u', '=', '1')
	w.frame(framePriorityUpdate, 0, 0, 0, 0, 0, 7, 'u', '=', '0')
	w.headers(1, true, with(browser, [2]string{"priority", "u=0"})) // fills the output, so that all others wait
	for _, id := range []uint32{3, 5, 7} {
		w.headers(id, true, with(browser, [2]string{"priority", "u=2"}))
	}
	s.stuff(w.take())
	var ended []uint32
	var out []byte
	for p := s.c.Pending(); len(p) > 0; p = s.c.Pending() {
		out = append(out, p...)
		s.c.Wrote(len(p), wire.More)
		s.act()
	}
	for b := out; len(b) > 0; b = b[frameHead+parseFrame(b).length:] {
		if f := parseFrame(b); f.kind == frameData && f.has(flagEnd) {
			ended = append(ended, f.id)
		}
	}
	if want := []uint32{1, 7, 5, 3}; !slices.Equal(ended, want) {
		t.Errorf("the answers came in the order %v, want %v", ended, want)
	}
	s.ends()
}
