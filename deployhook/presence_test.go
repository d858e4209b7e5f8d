package deployhook

import (
	"testing"
	"time"

	"portico/conf/sites"
	"portico/deployhook/wanted"
	"portico/membership/catalog"
)

func TestPresence(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	p := newPresence(begin)
	want := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s: away is %v", what, got)
		}
	}
	want("nobody could be heard yet", p.away("web1", at(10), true), false)
	want("never heard of", p.away("web1", at(11), true), true)
	want("never heard of, and gossip agrees", p.away("web2", at(7), false), true)
	p.enter("web1", at(100)) // a request that stays open
	want("an open request", p.away("web1", at(145), true), false)
	want("gossip begins to doubt", p.away("web1", at(145), false), false)
	want("still time to come again", p.away("web1", at(151), false), false)
	want("it has not come again", p.away("web1", at(152), false), true)
	p.enter("web1", at(153))
	want("it has come again", p.away("web1", at(159), false), false)
	want("and again not", p.away("web1", at(160), false), true)
	want("gossip takes it back", p.away("web1", at(161), true), false)
	want("doubt begins anew", p.away("web1", at(165), false), false)
	p.forget(func(string) bool { return false })
	if len(p.seen)+len(p.doubted) != 0 {
		t.Error("members that are gone are remembered")
	}
}

// TestCandidateIsGivenBeforeItsTurn: a server that is silent for a while as it fetches
// counts as away and its turn as not begun. The next of its ten thousand requests was
// refused then, and with that its deploy.
func TestCandidateIsGivenBeforeItsTurn(t *testing.T) {
	v := &catalog.View{
		Sites: map[string]*catalog.Site{"shop": {Name: "shop", Candidate: "next"}},
		Releases: map[string]map[string]*catalog.Release{"shop": {
			"next": {Manifest: sites.Settings{Servers: []string{"web1"}}}, "other": {},
		}},
		Members: map[string]*catalog.Member{},
	}
	for _, name := range []string{"web1", "web2"} {
		v.Members[name] = &catalog.Member{Name: name, Role: catalog.RoleServer, Admission: catalog.Accepted}
	}
	for _, tt := range []struct {
		member, release string
		may             bool
	}{{"web1", "next", true}, {"web2", "next", false}, {"web1", "other", false}} {
		if may := wanted.MayRead(v, tt.member, tt.release); may != tt.may {
			t.Errorf("%s may have release %s: %v, want %v", tt.member, tt.release, may, tt.may)
		}
	}
}
