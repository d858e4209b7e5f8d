package presence

import (
	"testing"
	"time"
)

func TestPresence(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	p := New(begin)
	want := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s: away is %v", what, got)
		}
	}
	want("nobody could be heard yet", p.Away("web1", at(10), true), false)
	want("never heard of", p.Away("web1", at(11), true), true)
	want("never heard of, and gossip agrees", p.Away("web2", at(7), false), true)
	p.Enter("web1", at(100)) // a request that stays open
	want("an open request", p.Away("web1", at(145), true), false)
	want("gossip begins to doubt", p.Away("web1", at(145), false), false)
	want("still time to come again", p.Away("web1", at(151), false), false)
	want("it has not come again", p.Away("web1", at(152), false), true)
	p.Enter("web1", at(153))
	want("it has come again", p.Away("web1", at(159), false), false)
	want("and again not", p.Away("web1", at(160), false), true)
	want("gossip takes it back", p.Away("web1", at(161), true), false)
	want("doubt begins anew", p.Away("web1", at(165), false), false)
	p.Forget(func(string) bool { return false })
	if len(p.seen)+len(p.doubted) != 0 {
		t.Error("members that are gone are remembered")
	}
}
