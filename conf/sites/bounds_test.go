package sites_test

import (
	"strings"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/internal/units"
)

// The edges of what the proxies take of a site: what is set lies within them, and nothing set is right.
func TestFrontBounds(t *testing.T) {
	f := func(key string, s sites.Front, right bool) {
		t.Helper()
		found := s.Validate()
		if right != (len(found) == 0) || !right && found[0].Key != key {
			t.Errorf("%+v: %v", s, found)
		}
	}
	duration := func(key string, set func(*sites.Front, units.Duration), least, most time.Duration) {
		t.Helper()
		for d, right := range map[time.Duration]bool{0: true, least: true, most: true, least - 1: false, most + time.Second: false} {
			var s sites.Front
			set(&s, units.Duration(d))
			f(key, s, right)
		}
	}
	duration("slow_start", func(s *sites.Front, d units.Duration) { s.SlowStart = d }, 0, time.Hour)
	duration("session.patience", func(s *sites.Front, d units.Duration) { s.Session.Patience = d }, 100*time.Millisecond, 24*time.Hour)
	duration("session.idle", func(s *sites.Front, d units.Duration) { s.Session.Idle = d }, time.Second, 365*24*time.Hour)
	duration("session.life", func(s *sites.Front, d units.Duration) { s.Session.Life = d }, time.Second, 365*24*time.Hour)
	duration("health.interval", func(s *sites.Front, d units.Duration) { s.Health.Interval = d }, 100*time.Millisecond, time.Hour)
	duration("health.timeout", func(s *sites.Front, d units.Duration) { s.Health.Timeout = d }, 10*time.Millisecond, time.Hour)

	for bound, right := range map[int]bool{0: true, 101: true, 1000: true, 100: false, 1001: false, -1: false} {
		f("policy_bound", sites.Front{Policy: "uri", PolicyBound: bound}, right)
	}
	for n, right := range map[int]bool{0: true, 1000: true, 1001: false, -1: false} {
		f("health.rise", sites.Front{Health: sites.Health{Rise: n}}, right)
		f("health.fall", sites.Front{Health: sites.Health{Fall: n}}, right)
	}
	for n, right := range map[int]bool{1024: true, 1025: false} {
		f("health.body", sites.Front{Health: sites.Health{Body: strings.Repeat("x", n)}}, right)
	}
	for path, right := range map[string]bool{"/up?full=1": true, "/%C3%BC": true, "/ü": false, "up": false, "/a b": false, "/a#b": false} {
		f("health.path", sites.Front{Health: sites.Health{Path: path}}, right)
	}
	for path, right := range map[string]bool{"/logout": true, "/ausloggen/ü": true, "logout": false, "/a?b": false, "/a b": false, "/a\x1b": false} {
		f("session.logout", sites.Front{Session: sites.Session{Logout: path}}, right)
	}
	for header, right := range map[string]bool{"X-Tenant": true, "X-Tenant:": false, "X Tenant": false} {
		f("policy_header", sites.Front{Policy: "header", PolicyHeader: header}, right)
	}
	f("policy", sites.Front{Policy: "header"}, false)
	for sameSite, right := range map[string]bool{"none": true, "lax": false, "": false} {
		f("session.partitioned", sites.Front{Session: sites.Session{SameSite: sameSite, Partitioned: true}}, right)
	}
	f("health.host", sites.Front{Health: sites.Health{Host: "Shop.example.com"}}, true)
	f("health.host", sites.Front{Health: sites.Health{Host: "*.example.com"}}, false)

	for n, right := range map[int]bool{0: true, 10_000_000: true, 10_000_001: false, -1: false} {
		if found := (sites.FrontLimits{Connections: n}).Validate(); right != (len(found) == 0) {
			t.Errorf("%d connections: %v", n, found)
		}
	}
}

// Every name that is offered is taken.
func TestNamesAreTaken(t *testing.T) {
	for _, p := range append(sites.Policies(), "") {
		if found := (sites.Front{Policy: p, PolicyHeader: "X-Tenant"}).Validate(); len(found) > 0 {
			t.Error(found)
		}
	}
	for _, p := range append(sites.Profiles(), "", "cookie:SID query:sid") {
		if found := (sites.Front{Session: sites.Session{Profile: p}}).Validate(); len(found) > 0 {
			t.Error(found)
		}
	}
	if found := (sites.Front{Rewrite: sites.Rewrites()}).Validate(); len(found) > 0 {
		t.Error(found)
	}
	for _, p := range []string{"tomcta", "cookie:", "jar:SID", "SID"} {
		if found := (sites.Front{Session: sites.Session{Profile: p}}).Validate(); len(found) != 1 || found[0].Key != "session.profile" {
			t.Errorf("%q: %v", p, found)
		}
	}
}

// Whoever writes another program's word for a policy is told ours.
func TestPoliciesOfOtherPrograms(t *testing.T) {
	for word, ours := range map[sites.Policy]sites.Policy{"leastconn": sites.PolicyLeastConnections, "RoundRobin": sites.PolicyRoundRobin, "ip_hash": sites.PolicySource} {
		found := sites.Front{Policy: word}.Validate()
		if len(found) != 1 || !strings.Contains(found[0].Error(), `did you mean "`+string(ours)+`"?`) {
			t.Errorf("%s: %v", word, found)
		}
	}
}

// A mistake tells the whole key where it stands alone, and the last word of it below the line of a file.
func TestMistakeAtItsPlace(t *testing.T) {
	found := sites.Front{Session: sites.Session{Sticky: "cooky"}}.Validate()
	if len(found) != 1 || found[0].Error() != `session.sticky = "cooky" is not known: did you mean "cookie"? Allowed: "cookie", "none"` ||
		found[0].Below() != `sticky: "cooky" is not known: did you mean "cookie"? Allowed: "cookie", "none"` {
		t.Error(found)
	}
	found = sites.Settings{Env: map[string]string{"A\x1b": "secret\x00"}, Hook: sites.Hook{Install: []string{""}}}.Validate()
	if text := found.Error(); len(found) != 2 || strings.ContainsAny(text, "\x1b\x00") || strings.Contains(text, "secret") || !strings.Contains(text, "hook.install begins") {
		t.Errorf("%q", text)
	}
}
