package priority

import "testing"

// TestForetold: of many words on requests that are still to come the latest are kept, the last on each holds, and each is forgotten when
// its request or a later one has come.
func TestForetold(t *testing.T) {
	own := Urgency{Level: 2}
	if got := (*Foretold)(nil).Of(1, own); got != own {
		t.Errorf("nothing was foretold, and the request has %v", got)
	}
	var f Foretold
	for id := uint32(101); id < 101+4*foretoldMost; id += 2 {
		f.Keep(id, Urgency{Level: 0})
	}
	f.Keep(5, Urgency{Level: 6})
	f.Keep(5, Urgency{Level: 1})
	f.Keep(7, Urgency{Level: 0})
	for _, want := range []struct {
		id    uint32
		level byte
	}{{3, 2}, {5, 1}, {5, 2}, {7, 0}, {101, 2}, {101 + 4*foretoldMost - 2, 0}} {
		if got := f.Of(want.id, own); got.Level != want.level {
			t.Errorf("request %d has the level %d, want %d", want.id, got.Level, want.level)
		}
	}
	kept := 0
	for _, e := range f.list {
		if e.id != 0 {
			kept++
		}
	}
	if kept != 0 {
		t.Errorf("%d words are kept of requests that have come", kept)
	}
}
