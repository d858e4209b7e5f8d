package tests

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"portico/proxy/admin/api"
	"portico/tests/harness"
)

// An operator finds a visitor's session, moves it, ends it; the table outlives a
// clean restart of the proxy, and a fresh key loses nobody.
func TestSessionsOfVisitors(t *testing.T) {
	t.Parallel()
	harness.Need(t, "php")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "php", harness.App("php"), "--host", "php.test")
	vs, seen := visitors(t, p.HTTP, "php.test", "/", 5)

	list := sessionsOf(t, p)
	if list.Total != 5 || len(list.Sessions) != 5 {
		t.Fatalf("%+v", list)
	}
	p.Must("keys", "rotate", "session")
	stay(t, vs, seen, "/")

	p.Stop()
	p.Restart()
	p.WaitReady()
	again := sessionsOf(t, p)
	if again.Total != 5 {
		t.Errorf("after a restart: %+v", again)
	}
	stay(t, vs, seen, "/")

	if r := p.CLI("sessions", "move", "php", again.Sessions[0].ID); r.Code != 2 || !strings.Contains(r.Stderr, "--yes") || !strings.Contains(r.Stdout, again.Sessions[0].ID) {
		t.Errorf("without --yes: %d %s%s", r.Code, r.Stdout, r.Stderr)
	}
	p.Must("sessions", "move", "php", again.Sessions[0].ID, "--yes")
	moved := 0
	for i, v := range vs {
		got := v.Get("/")
		if got.Server != seen[i].Server {
			moved++
			if got.Lost != "cause=operator" && got.Lost != "operator" {
				t.Errorf("the application is told %q", got.Lost)
			}
		}
		seen[i] = got
	}
	if moved != 1 {
		t.Errorf("%d visitors moved, want 1", moved)
	}

	ended := sessionsOf(t, p).Sessions[0].ID
	p.Must("sessions", "end", "php", ended, "--yes")
	for _, v := range vs {
		v.Get("/")
	}
	live := 0
	for _, in := range sessionsOf(t, p).Sessions {
		if !in.Ended {
			live++
			if in.ID == ended {
				t.Errorf("session %s goes on after its end", ended)
			}
		}
	}
	if live != 5 {
		t.Errorf("%d live sessions, want 5: the one that ended began anew", live)
	}
	if out := p.Must("audit"); !strings.Contains(out, "end session") || !strings.Contains(out, "move session") {
		t.Errorf("the audit log does not tell:\n%s", out)
	}
	if r := p.CLI("sessions", "end", "php", "0000000000000000"); r.Code != 1 {
		t.Errorf("a session that is not there: %d %s", r.Code, r.Stderr)
	}
	namedByToken(t, p)
	if r := p.CLI("deploy", "php-place", harness.App("static"), "--host", "php.test", "--path", "/place"); r.Code != 1 || !strings.Contains(r.Stderr, `"portico-php-place"`) || !strings.Contains(r.Stderr, "session.cookie") {
		t.Errorf("a site whose cookie is another one's: %d %s", r.Code, r.Stderr)
	}
}

// namedByToken finds, moves and ends the session of a client that keeps the application's
// own cookie and not the proxy's.
func namedByToken(t *testing.T, p *harness.Proxy) {
	if r := p.CLI("sessions", "end", "php", "abcdef"); r.Code != 1 || !strings.Contains(r.Stderr, "session.profile") {
		t.Errorf("a token, while the site looks for none: %d %s", r.Code, r.Stderr)
	}
	p.Must("sites", "set", "php", "session.profile=php")
	v := harness.NewVisitor(t, p.HTTP, "php.test")
	var first harness.Visit
	harness.Eventually(t, time.Minute, func() error { // the setting has arrived
		v.Client.Jar = newJar(t)
		first = v.Get("/")
		if list := sessionsOf(t, p, "--token", v.Cookie("PHPSESSID")); list.Total != 1 {
			return errf("%+v", list)
		}
		return nil
	})
	token := v.Cookie("PHPSESSID")
	alone := func() (harness.Visit, string) {
		v.Client.Jar = newJar(t)
		v.Client.Jar.SetCookies(&url.URL{Scheme: "http", Host: v.Host, Path: "/"}, []*http.Cookie{{Name: "PHPSESSID", Value: token}})
		return v.Get("/"), v.Cookie("PHPSESSID")
	}
	if got, _ := alone(); got.Server != first.Server || got.Views != 2 {
		t.Fatalf("by the token alone: %+v after %+v", got, first)
	}
	id := sessionsOf(t, p, "--token", token).Sessions[0].ID
	if list := sessionsOf(t, p, "--cookie", "a=b; PHPSESSID="+token); list.Total != 1 || list.Sessions[0].ID != id {
		t.Errorf("by a Cookie field: %+v", list)
	}
	if out := p.Must("sessions", "move", "php", token, "--yes"); !strings.Contains(out, id) {
		t.Errorf("another session moves: %s", out)
	}
	moved, _ := alone()
	if moved.Server == first.Server || moved.Lost == "" {
		t.Fatalf("moved: %+v after %+v", moved, first)
	}
	if got, _ := alone(); got.Server != moved.Server || got.Lost != "" {
		t.Errorf("then: %+v", got)
	}
	p.Must("sessions", "end", "php", "PHPSESSID="+token, "--yes")
	for _, in := range sessionsOf(t, p, "--id", id).Sessions {
		if !in.Ended {
			t.Errorf("goes on after its end: %+v", in)
		}
	}
	alone()
	list := sessionsOf(t, p, "--token", token)
	if list.Total != 1 || list.Sessions[0].ID == id || list.Sessions[0].Ended {
		t.Errorf("its visitor begins anew: %+v", list)
	}
	if r := p.CLI("sessions", "move", "php", "nobody-has-this"); r.Code != 1 || !strings.Contains(r.Stderr, "no session with the token") {
		t.Errorf("an unknown token: %d %s", r.Code, r.Stderr)
	}
}

func newJar(t *testing.T) http.CookieJar {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return jar
}

func sessionsOf(t *testing.T, p *harness.Proxy, flags ...string) api.SessionList {
	t.Helper()
	var list api.SessionList
	p.JSON(&list, append([]string{"sessions", "php", "--list", "--json"}, flags...)...)
	return list
}
