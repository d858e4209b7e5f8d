package forward

import (
	"testing"

	"portico/proxy/site"
)

// A site holds so many requests without a session, and those that have ended make room.
func TestCrowdIsBounded(t *testing.T) {
	st := &site.Site{State: &site.State{}}
	flights := make([]flight, heldMost+1)
	for i := range flights {
		f := &flights[i]
		f.site = st
		if got, want := f.joinCrowd(), i < heldMost; got != want {
			t.Fatalf("request %d is held: %v, want %v", i+1, got, want)
		}
	}
	flights[heldMost].unheld() // was not counted
	if flights[heldMost].joinCrowd() {
		t.Error("one more than is held was taken in")
	}
	flights[0].unheld()
	flights[0].unheld()
	if !flights[heldMost].joinCrowd() || flights[0].joinCrowd() {
		t.Error("one that has ended does not make room for one")
	}
}
