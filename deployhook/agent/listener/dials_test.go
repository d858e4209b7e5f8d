package listener

import (
	"testing"
	"time"
)

// TestDials: a crowd may dial an instance that answers, and one that hangs leaves room for the others.
func TestDials(t *testing.T) {
	var d dials
	at := time.Unix(1000, 0)
	begun := func(n int) (ok int) {
		for range n {
			if d.begin("a", at) {
				ok++
			}
		}
		return ok
	}
	if n := begun(dialsMost + 10); n != dialsMost+10 {
		t.Fatalf("%d of a crowd that has just begun may dial, want %d", n, dialsMost+10)
	}
	at = at.Add(dialsHang)
	if begun(1) != 1 {
		t.Error("no dial after a second")
	}
	at = at.Add(time.Millisecond)
	if begun(1) != 0 {
		t.Error("a dial more, though none was answered for longer than a second")
	}
	if !d.begin("b", at) {
		t.Error("another instance must wait for it")
	}
	d.end("a", false, at)
	if begun(1) != 0 {
		t.Error("a dial that ran out of time counts as an answer")
	}
	d.end("a", true, at)
	if n := begun(2 * dialsRoom); n != dialsRoom-dialsMost-9 {
		t.Errorf("%d more after an answer, want %d in all", n, dialsRoom)
	}
	for range dialsRoom {
		d.end("a", true, at)
	}
	if len(d.now) != 1 {
		t.Errorf("%d instances are remembered, want b alone", len(d.now))
	}
}
