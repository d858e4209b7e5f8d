package balancer_test

import (
	"strings"
	"testing"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/tests/support/seals"
)

func TestCookiesThatAreNotHonoured(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: time.Hour, Life: 10 * time.Hour}, "a", "b")
	s := mustSealer(t, "shop", w.keys)
	sealed := func(id string, issued, start time.Duration) []byte {
		return s.Seal(nil, seal.Cookie{Token: s.Token(id), Session: 9, Issued: t0/1000 - int64(issued/time.Second), Start: t0/1000 - int64(start/time.Second)})
	}
	strange := []seal.Key{seals.NewKey(9, time.UnixMilli(t0))}
	f := func(name string, cookie []byte, want seal.Refusal, lost balancer.Cause) {
		t.Helper()
		c := w.pick(balancer.Request{Cookie: cookie})
		w.done(&c)
		if c.Upstream == nil || c.Refused != want || c.Lost != lost || !c.Issue {
			t.Errorf("%s: %+v, want refusal %q, cause %q", name, c, want, lost)
		}
		if want != seal.Honoured && !c.New {
			t.Errorf("%s: not a new session", name)
		}
	}
	f("junk", []byte("junk"), seal.RefusedMalformed, balancer.CauseNone)
	f("forged", append(sealed("a", 0, 0)[:50], "AAAAAAAAA"...), seal.RefusedMalformed, balancer.CauseNone)
	f("idle", sealed("a", 2*time.Hour, 3*time.Hour), seal.RefusedIdle, balancer.CauseNone)
	f("old", sealed("a", 0, 11*time.Hour), seal.RefusedLife, balancer.CauseNone)
	f("bare and unknown", []byte("aaaaaaaaaa"), seal.RefusedToken, balancer.CauseNone)
	f("sealed for an instance nobody remembers", sealed("z", 0, 0), seal.Honoured, balancer.CauseUnknown)
	f("another key", mustSealer(t, "shop", strange).Seal(nil, seal.Cookie{Token: 1, Session: 1, Issued: t0 / 1000, Start: t0 / 1000}), seal.RefusedKey, balancer.CauseKey)

	snap := w.p.Snapshot(t0)
	if snap.Refused["idle"] != 1 || snap.Refused["malformed"] != 2 || snap.Refused["expired key"] != 1 {
		t.Errorf("counted %v", snap.Refused)
	}
}

func TestHAProxyCookie(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b")
	w.get(nil) // who is known must not be taken for one who has no session yet
	bare := w.up("b").Token().Append(nil)
	if l := w.p.Preview(&balancer.Request{Cookie: bare, Now: w.now}); l.By != "bare cookie" || l.Session != 0 || l.Used != 0 {
		t.Errorf("a look finds %+v", l)
	}
	c, sealed := w.get(bare)
	if c.Upstream.ID() != "b" || !c.Pinned || !c.Issue || c.Session == 0 {
		t.Fatalf("bare: %+v", c)
	}
	if !strings.HasPrefix(string(sealed), string(bare)+"|") {
		t.Fatalf("replaced by %s", sealed)
	}
	if c, _ = w.get(sealed); c.Upstream.ID() != "b" || c.Issue {
		t.Fatalf("sealed: %+v", c)
	}
}

func TestSeveralCookies(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b")
	good := w.visitorOf("b")
	c := w.pick(balancer.Request{Cookie: []byte("rubbish"), Others: [][]byte{good}})
	if c.Upstream.ID() != "b" || !c.Pinned || c.Refused != seal.Honoured {
		t.Errorf("the second cookie is good: %+v", c)
	}
	if n := w.p.Snapshot(t0).Refused["duplicate"]; n != 1 {
		t.Errorf("counted %d duplicates", n)
	}
}

func TestCookieIsIssuedAnew(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: 40 * time.Minute}, "a", "b")
	_, cookie := w.get(nil)
	w.now += (10 * time.Minute).Milliseconds()
	if c, _ := w.get(cookie); c.Issue {
		t.Error("issued anew within a quarter of the idle time")
	}
	w.now += 1000
	c, second := w.get(cookie)
	if !c.Issue || string(second) == string(cookie) {
		t.Error("not issued anew after a quarter of the idle time")
	}
	// A stream keeps the session alive without sending cookies.
	for range 10 {
		w.now += (20 * time.Minute).Milliseconds()
		w.p.Keep(&c, w.now)
		w.b.Tick(w.now)
	}
	if again, _ := w.get(second); again.Upstream != c.Upstream || again.Session != c.Session || again.Refused != seal.Honoured {
		t.Errorf("after hours of streaming: %+v", again)
	}
}

// TestLifeEndsStreamsToo holds what the simulator found: a session that a stream keeps
// from being idle must end by its age all the same.
func TestLifeEndsStreamsToo(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: 10 * time.Minute, Life: time.Hour}, "a", "b")
	c, cookie := w.get(nil)
	for range 7 {
		w.now += (10 * time.Minute).Milliseconds()
		w.p.Keep(&c, w.now)
	}
	if again, _ := w.get(cookie); !again.New || again.Refused != seal.RefusedLife {
		t.Errorf("after its life: %+v", again)
	}
}

// TestMoveTakenBackForgetsNothing: a session that is alive by a stream alone is moved to an
// instance that does not answer either, and lives on where it was. The simulator found that it
// ended (one proxy, seed 1, 34,000 visits).
func TestMoveTakenBackForgetsNothing(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: 10 * time.Minute}, "a", "b")
	first, cookie := w.get(nil)
	w.pass(11 * time.Minute)
	w.p.Keep(&first, w.now)
	w.pass(2 * time.Minute)
	home := first.Upstream.ID()
	w.failCheck(home, 3)
	c := w.pick(balancer.Request{Cookie: cookie})
	if c.Upstream == first.Upstream || c.Lost == balancer.CauseNone {
		t.Fatalf("from a dead instance: %+v", c)
	}
	w.p.Done(&c, balancer.Outcome{Now: w.now, Result: balancer.ConnectFailed, Detail: "refused"})
	w.passCheck(home, 3)
	if c, _ := w.get(cookie); c.Upstream != first.Upstream || c.Session != first.Session || c.Refused != seal.Honoured {
		t.Errorf("back where it was: %+v", c)
	}
}

func TestEndedSession(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b")
	c, cookie := w.get(nil)
	if !w.b.Sessions().End(c.Session) || w.b.Sessions().End(c.Session) || w.b.Sessions().End(12345) {
		t.Error("a session ends once, an unknown one never")
	}
	if n := c.Upstream.Sessions(); n != 0 {
		t.Errorf("still counts %d", n)
	}
	again, _ := w.get(cookie)
	if again.Session == c.Session || again.Refused != seal.RefusedEnded || !again.New || again.Lost != balancer.CauseNone {
		t.Errorf("after its end: %+v", again)
	}
}

func TestLearnedToken(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b", "c")
	c, _ := w.get(nil)
	app := w.b.HashApp([]byte("JSESSIONID=4711"))
	w.p.Learn(&c, app, w.now)
	for range 20 {
		got := w.pick(balancer.Request{App: app})
		w.done(&got)
		if got.Upstream != c.Upstream || !got.Issue {
			t.Fatalf("by the token: %+v, want %s", got, c.Upstream.ID())
		}
	}
	if got := w.pick(balancer.Request{App: w.b.HashApp([]byte("other"))}); !got.New {
		t.Errorf("by an unknown token: %+v", got)
	}
}

// A client that keeps no cookies is one session, told once when its instance is
// lost, and nobody else's token leads away from it.
func TestLearnedTokenMovesOnce(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b", "c")
	app := w.b.HashApp([]byte("4711"))
	c, _ := w.get(nil)
	w.p.Learn(&c, app, w.now)
	come := func() balancer.Choice {
		c := w.pick(balancer.Request{App: app})
		w.p.Refresh(&c, app, w.now)
		w.done(&c)
		return c
	}
	one, two := come(), come()
	if one.Session != two.Session || one.Upstream != c.Upstream || two.Start != one.Start {
		t.Errorf("one client, two sessions: %+v and %+v", one, two)
	}
	other := w.pick(balancer.Request{Cookie: w.visitorOf("b")})
	if other.Upstream == c.Upstream {
		other = w.pick(balancer.Request{Cookie: w.visitorOf("c")})
	}
	w.p.Refresh(&other, app, w.now)
	if again := come(); again.Upstream != c.Upstream {
		t.Error("somebody else took the token away")
	}
	c.Upstream.Observe(exited(""), w.now)
	moved := come()
	if moved.Upstream == nil || moved.Upstream == c.Upstream || moved.Lost != balancer.CauseExited {
		t.Fatalf("after the end of its instance: %+v", moved)
	}
	w.now += 5000
	if again := come(); again.Upstream != moved.Upstream || again.Lost != balancer.CauseNone {
		t.Errorf("then: %+v", again)
	}
}

func TestNothingIsKeptOfWhoHasNoSession(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a")
	c := w.pick(balancer.Request{})
	w.p.Decline(&c)
	w.done(&c)
	if c.Issue || w.up("a").Sessions() != 0 {
		t.Errorf("declined: %+v, %d sessions", c, w.up("a").Sessions())
	}
	pinned := w.pick(balancer.Request{Cookie: w.visitorOf("a")})
	w.p.Decline(&pinned)
	if w.done(&pinned); w.up("a").Sessions() != 1 {
		t.Error("a pinned visitor was forgotten")
	}
}

// TestTokenNamesTheSession: whoever lost the cookie, or never kept one, goes on with the
// session in which the application gave the token, so it is listed, moved and ended as that.
func TestTokenNamesTheSession(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b", "c")
	first, cookie := w.get(nil)
	app := w.b.HashApp([]byte("4711"))
	w.p.Learn(&first, app, w.now)
	come := func(cookie []byte) balancer.Choice {
		c := w.pick(balancer.Request{App: app, Cookie: cookie})
		w.p.Refresh(&c, app, w.now)
		w.done(&c)
		return c
	}
	for _, jar := range [][]byte{nil, cookie, nil} {
		if c := come(jar); c.Session != first.Session || c.Start != first.Start || c.Upstream != first.Upstream {
			t.Fatalf("another session: %+v, want %+v", c, first)
		}
	}
	if l := w.p.Preview(&balancer.Request{App: app, Now: w.now}); l.By != "token" || l.Session != first.Session {
		t.Errorf("a look finds %+v", l)
	}
	if list, n := w.b.Sessions().List(w.p.Name(), 10, nil); n != 1 || list[0].ID != first.Session {
		t.Errorf("listed %+v", list)
	}

	w.b.Sessions().Move(first.Session)
	moved := come(nil)
	if moved.Upstream == first.Upstream || moved.Lost != balancer.CauseOperator || moved.Session != first.Session {
		t.Fatalf("moved: %+v", moved)
	}
	for _, jar := range [][]byte{nil, cookie} { // the cookie is from before
		if c := come(jar); c.Upstream != moved.Upstream || c.Lost != balancer.CauseNone {
			t.Errorf("after the move: %+v", c)
		}
	}

	w.b.Sessions().End(first.Session)
	anew := come(nil)
	if !anew.New || anew.Refused != seal.RefusedEnded || anew.Session == first.Session || anew.Lost != balancer.CauseNone {
		t.Fatalf("after its end: %+v", anew)
	}
	for range 3 { // the application may take the name for a session of its own there
		if c := come(nil); c.Session != anew.Session || c.Upstream != anew.Upstream || c.New {
			t.Errorf("then: %+v, want %+v", c, anew)
		}
	}
	if c := come(cookie); c.Refused != seal.RefusedEnded || !c.New {
		t.Errorf("by the cookie of the session that was ended: %+v", c)
	}
}

// TestEndedTokenLeadsNowhere: a visitor whose session was ended is not led back to it by
// the application's token once the new cookie is lost too.
func TestEndedTokenLeadsNowhere(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: time.Hour}, "a", "b", "c", "d", "e", "f", "g", "h")
	first, cookie := w.get(nil)
	app := w.b.HashApp([]byte("4711"))
	w.p.Learn(&first, app, w.now)
	w.pass(50 * time.Minute) // the token is known for longer than the cookie
	c := w.pick(balancer.Request{App: app, Cookie: cookie})
	w.p.Refresh(&c, app, w.now)
	w.done(&c)
	w.b.Sessions().End(first.Session)
	w.pass(70 * time.Minute)
	w.b.Sessions().SweepAll(w.now)
	if c := w.pick(balancer.Request{App: app}); c.Refused != seal.RefusedEnded || !c.New {
		t.Errorf("by the token: %+v", c)
	}
	w.pass(10 * time.Minute)
	w.b.Sessions().SweepAll(w.now)
	if c := w.pick(balancer.Request{App: app}); !c.New || c.Refused != seal.Honoured {
		t.Errorf("after its time: %+v", c)
	}
}

// TestLifeEndsTokensToo: the greatest age of a session holds for those who have only the token.
func TestLifeEndsTokensToo(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: time.Hour, Life: 2 * time.Hour}, "a", "b")
	first, _ := w.get(nil)
	app := w.b.HashApp([]byte("4711"))
	w.p.Learn(&first, app, w.now)
	come := func() balancer.Choice {
		c := w.pick(balancer.Request{App: app})
		w.p.Refresh(&c, app, w.now)
		w.done(&c)
		return c
	}
	for range 4 {
		w.pass(30 * time.Minute)
		if c := come(); c.Session != first.Session {
			t.Fatalf("within its life: %+v", c)
		}
	}
	w.pass(time.Minute)
	again := come()
	if !again.New || again.Session == first.Session {
		t.Errorf("after its life: %+v", again)
	}
	w.b.Sessions().SweepAll(w.now)
	if c := come(); c.Session != again.Session {
		t.Errorf("then: %+v, want session %x", c, again.Session)
	}
}
