package wanted

import (
	"testing"

	"portico/conf/sites"
	"portico/membership/catalog"
)

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
		if may := MayRead(v, tt.member, tt.release); may != tt.may {
			t.Errorf("%s may have release %s: %v, want %v", tt.member, tt.release, may, tt.may)
		}
	}
}
