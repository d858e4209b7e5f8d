package loop

import "testing"

// TestKeptBytesAreNotTheLast: behind bytes that were kept there may be more, of which an event has told meanwhile and will not tell again.
func TestKeptBytesAreNotTheLast(t *testing.T) {
	l, s := &loop{}, &sock{slot: 1}
	l.early.arrivals[0] = arrival{s: s, from: []byte("kept"), res: 4}
	l.early.n, l.early.unread = 1, 1
	l.keep()
	b := make([]byte, 10)
	n, res := l.take(s, b)
	if string(b[:n]) != "kept" || res != 0 || !s.ready || s.slot != 0 || len(l.early.kept) != 0 {
		t.Errorf("got %q, result %d, ready %v, slot %d, %d kept; the socket must be read on", b[:n], res, s.ready, s.slot, len(l.early.kept))
	}
}
