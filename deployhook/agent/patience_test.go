package agent

import (
	"strings"
	"testing"
	"time"

	"portico/deployhook/agent/members"
	"portico/membership/catalog/messages"
)

// TestPatience: an instance that may not stop yet runs for as long as the proxies say so, and for
// a while after the last word of them.
func TestPatience(t *testing.T) {
	begun := time.Unix(1000, 0)
	f := func(heard, now, want time.Duration) {
		t.Helper()
		if got := patience(10*time.Second, begun, begun.Add(heard), begun.Add(now)); got != want {
			t.Errorf("heard %s after the beginning, %s left after %s, want %s", heard, got, now, want)
		}
	}
	f(-time.Minute, 4*time.Second, 6*time.Second) // heard before it was asked
	f(-time.Minute, 10*time.Second, 0)
	f(9*time.Second, 10*time.Second, 9*time.Second)
	f(25*time.Second, 28*time.Second, 7*time.Second)
	f(25*time.Second, 36*time.Second, -time.Second)
}

// A proxy that was heard of is waited for, however it was heard; one that is silent is not.
func TestPatienceWithSeveralProxies(t *testing.T) {
	begun := time.Unix(1_800_000_000, 0)
	at := func(s int) time.Time { return begun.Add(time.Duration(s) * time.Second) }
	for _, c := range []struct {
		what    string
		proxies []string
		heard   map[string]time.Time
		said    map[string]bool
		now     int
		left    int
		missing string
	}{
		{what: "both were just asked", proxies: []string{"a", "b"}, now: 1, left: 9, missing: "a b"},
		{what: "one has let go", proxies: []string{"a", "b"}, said: map[string]bool{"a": true}, heard: map[string]time.Time{"a": at(50)}, now: 4, left: 6, missing: "b"},
		{what: "the other is silent", proxies: []string{"a", "b"}, said: map[string]bool{"a": true}, heard: map[string]time.Time{"a": at(11)}, now: 11},
		{what: "the other connects", proxies: []string{"a", "b"}, said: map[string]bool{"a": true}, heard: map[string]time.Time{"b": at(60)}, now: 61, left: 9, missing: "b"},
		{what: "one says not yet, the other is silent", proxies: []string{"a", "b"}, heard: map[string]time.Time{"a": at(60)}, now: 61, left: 9, missing: "a"},
		{what: "nobody has a name", heard: map[string]time.Time{"": at(5)}, now: 6, left: 9},
		{what: "nobody answers", now: 11},
	} {
		a := &Agent{o: Options{stopWait: 10 * time.Second}, heard: c.heard}
		var proxies []messages.Peer
		for _, name := range c.proxies {
			proxies = append(proxies, messages.Peer{Name: name, Addr: name})
		}
		a.members = members.New(members.Options{Proxies: proxies})
		left, missing := a.patience(&stopWaiter{said: c.said}, begun, at(c.now))
		if max(left, 0) != time.Duration(c.left)*time.Second || strings.Join(missing, " ") != c.missing {
			t.Errorf("%s: %v for %q", c.what, left, missing)
		}
	}
}
