package balancer_test

import (
	"bytes"
	"testing"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/tests/support/seals"
)

// Sessions end between two milliseconds: these tests stand on both of them, with issue
// times late in a second, because cookies count whole seconds.

// lateInSecond is where in its second the time of these tests begins.
const lateInSecond = 700

// restarted returns a proxy with the keys and the upstreams of w, and no memory.
func restarted(w *world) *world {
	w.t.Helper()
	next := &world{t: w.t, keys: w.keys, c: w.c, spec: w.spec, now: w.now}
	var err error
	if next.b, err = balancer.New(balancer.Options{Keys: w.keys}); err != nil {
		w.t.Fatal(err)
	}
	if next.p, err = next.b.NewPool("shop", w.spec, w.c, w.now); err != nil {
		w.t.Fatal(err)
	}
	next.passAll()
	return next
}

// sessions returns how many sessions w counts after a sweep.
func (w *world) sessions() (n int) {
	w.b.Sessions().SweepAll(w.now)
	for _, u := range w.p.Upstreams() {
		n += u.Sessions()
	}
	return n
}

// endsAt checks that the session of a cookie is whole one millisecond before end, and
// over at end, with the refusal why and without the loss of anything.
func endsAt(t *testing.T, w *world, cookie []byte, end int64, why seal.Refusal) {
	t.Helper()
	known := w.sessions()
	w.now = end - 1
	if n := w.sessions(); n != known {
		t.Errorf("a millisecond before the end: %d sessions, want %d", n, known)
	}
	look := w.p.Preview(&balancer.Request{Now: w.now, Cookie: cookie})
	if look.Refused != seal.Honoured || look.Upstream == nil || look.Upstream != look.Home {
		t.Errorf("a millisecond before the end: %+v", look)
	}
	if c, _ := restarted(w).get(cookie); !c.Pinned || c.New || c.Session != look.Session {
		t.Errorf("a millisecond before the end, by the cookie alone: %+v", c)
	}
	w.now = end
	if n := w.sessions(); n != 0 {
		t.Errorf("at the end: %d sessions are counted", n)
	}
	for name, at := range map[string]*world{"with the table": w, "by the cookie alone": restarted(w)} {
		c, _ := at.get(cookie)
		if !c.New || c.Pinned || !c.Issue || c.Refused != why || c.Lost != balancer.CauseNone || c.Session == look.Session {
			t.Errorf("at the end, %s: %+v", name, c)
		}
		if s := at.p.Snapshot(at.now); s.Refused[why.String()] != 1 || s.Sessions != 1 {
			t.Errorf("at the end, %s: counted %v, %d sessions", name, s.Refused, s.Sessions)
		}
	}
}

func TestIdleEndsToTheMillisecond(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: 40 * time.Minute}, "a", "b")
	w.now += lateInSecond
	_, cookie := w.get(nil)
	endsAt(t, w, cookie, t0+(50*time.Minute+time.Second).Milliseconds(), seal.RefusedIdle)
}

// The cookie is in use all the time: only its age ends it.
func TestLifeEndsToTheMillisecond(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: 40 * time.Minute, Life: 3 * time.Hour}, "a", "b")
	w.now += lateInSecond
	_, cookie := w.get(nil)
	for range 17 {
		w.pass(10*time.Minute + time.Second)
		c, next := w.get(cookie)
		if cookie = next; !c.Issue || !c.Pinned {
			t.Fatalf("in use: %+v", c)
		}
	}
	endsAt(t, w, cookie, t0+(3*time.Hour+time.Second).Milliseconds(), seal.RefusedLife)
}

// A stream's session, which the table keeps beyond its cookie, ends as exactly.
func TestStreamEndsToTheMillisecond(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: 40 * time.Minute}, "a", "b")
	w.now += lateInSecond
	c, cookie := w.get(nil)
	w.now += (30 * time.Minute).Milliseconds()
	w.p.Keep(&c, w.now)
	end := t0 + (80*time.Minute + time.Second).Milliseconds()
	w.now = end - 1
	if again := w.p.Preview(&balancer.Request{Now: w.now, Cookie: cookie}); w.sessions() != 1 || again.Refused != seal.Honoured || again.Upstream != c.Upstream {
		t.Errorf("a millisecond before the end: %+v", again)
	}
	w.now = end
	if again, _ := w.get(cookie); !again.New || again.Refused != seal.RefusedIdle || again.Lost != balancer.CauseNone {
		t.Errorf("at the end: %+v", again)
	}
}

// A table of twenty is small enough that the oldest of all gives way, not of some
// neighbours.
func TestOldestGivesWayAndKeepsItsPin(t *testing.T) {
	const room = 20
	keys := newKeys()
	b, err := balancer.New(balancer.Options{Keys: keys, MaxSessions: room})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.NewPool("shop", []balancer.Spec{{ID: "a"}, {ID: "b"}}, balancer.Config{}, t0)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, b: b, p: p, keys: keys, now: t0}
	w.passAll()
	var begun []balancer.Choice
	var cookies [][]byte
	for range room {
		w.now += 1000
		c, cookie := w.get(nil)
		begun, cookies = append(begun, c), append(cookies, cookie)
	}
	for _, cookie := range cookies { // all come back, in the same order
		w.now += 1000
		w.get(cookie)
	}
	if st := b.Sessions().Stats(); st.Entries != room || st.Room != room || st.Evicted != 0 {
		t.Fatalf("full, and nobody has left: %+v", st)
	}
	w.now += 1000
	w.get(cookies[0]) // now the second is the oldest
	w.get(nil)
	if _, ok := b.Sessions().Find(begun[1].Session); ok {
		t.Error("the least recently used is still there")
	}
	for i, c := range begun {
		if _, ok := b.Sessions().Find(c.Session); !ok && i != 1 {
			t.Errorf("number %d of %d gave way", i, room)
		}
	}
	if st := b.Sessions().Stats(); st.Entries != room || st.Evicted != 1 || w.sessions() != room {
		t.Errorf("after one too many: %+v, %d counted", st, w.sessions())
	}
	// Who gave way is a stranger to the table, not to its instance.
	if c, _ := w.get(cookies[1]); !c.Pinned || c.New || c.Upstream != begun[1].Upstream || c.Session != begun[1].Session || c.Lost != balancer.CauseNone {
		t.Errorf("who gave way comes back: %+v, was %+v", c, begun[1])
	}
	if st := b.Sessions().Stats(); st.Entries != room || st.Evicted != 2 || w.sessions() != room {
		t.Errorf("after it came back: %+v, %d counted", st, w.sessions())
	}
}

// Whatever a reload changes in a site, its sessions stay counted; a shorter idle time counts
// for them from then on.
func TestReloadKeepsTheCounts(t *testing.T) {
	w := newWorldOf(t, balancer.Config{Idle: time.Hour}, balancer.Spec{ID: "a"}, balancer.Spec{ID: "b"})
	w.now += lateInSecond
	for range 30 {
		w.get(nil)
	}
	_, cookie := w.get(nil)
	a, b, upA := w.up("a").Sessions(), w.up("b").Sessions(), w.up("a")
	born := w.b.Sessions().Stats().Born
	w.c = balancer.Config{Idle: 20 * time.Minute, Policy: "least-connections"}
	w.update(balancer.Spec{ID: "b", Weight: 3, Addr: "10.0.0.9:80"}, balancer.Spec{ID: "c"}, balancer.Spec{ID: "a", Retiring: true})
	if w.up("a").Sessions() != a || w.up("b").Sessions() != b || w.up("a") != upA || a+b != 31 {
		t.Errorf("%d and %d sessions after a reload, were %d and %d", w.up("a").Sessions(), w.up("b").Sessions(), a, b)
	}
	if st := w.b.Sessions().Stats(); st.Born != born || st.Entries != 31 {
		t.Errorf("a reload began the table anew: %+v", st)
	}
	endsAt(t, w, cookie, t0+(25*time.Minute+time.Second).Milliseconds(), seal.RefusedIdle)
}

// Without a file the counts fill from the cookies, and are called sure when no cookie from before the
// start can be alive, one that was ahead of the clock neither.
func TestRecountingLastsAsLongAsTheCookies(t *testing.T) {
	before := newWorld(t, balancer.Config{Idle: 40 * time.Minute}, "a", "b")
	var cookies [][]byte
	for range 20 {
		_, cookie := before.get(nil)
		cookies = append(cookies, cookie)
	}
	before.now += lateInSecond
	w := restarted(before)
	end := t0 + (50*time.Minute + time.Second).Milliseconds()
	sure := end + aheadOf40.Milliseconds()
	check := func(when string, want bool) {
		t.Helper()
		_, _, known := w.p.Load("a", w.now)
		if got := w.p.Snapshot(w.now).Recounting; got != want || known == want || w.b.Forecast(w.p.Upstreams(), w.now).Recounting != want {
			t.Errorf("%s: recounting %v, load known %v, want recounting %v", when, got, known, want)
		}
	}
	check("at the start", true)
	if n := w.sessions(); n != 0 {
		t.Errorf("%d sessions before anybody came", n)
	}
	for i, cookie := range cookies[:19] {
		if c, _ := w.get(cookie); !c.Pinned || w.sessions() != i+1 {
			t.Errorf("visitor %d came: %d sessions, %+v", i, w.sessions(), c)
		}
	}
	for _, u := range before.p.Upstreams() {
		if n := w.up(u.ID()).Sessions(); n != u.Sessions() && n != u.Sessions()-1 {
			t.Errorf("%s has %d sessions again, had %d", u.ID(), n, u.Sessions())
		}
	}
	w.now = end - 1
	check("while a cookie from before may live", true)
	if c, _ := w.get(cookies[19]); !c.Pinned || c.New {
		t.Errorf("the last cookie from before: %+v", c)
	}
	w.now = sure - 1
	check("while one that was ahead of the clock may live", true)
	w.now = sure
	check("when none can", false)
	if c, _ := restarted(w).get(cookies[0]); c.Refused != seal.RefusedIdle {
		t.Errorf("sure, while a cookie from before lives: %+v", c)
	}
}

// aheadOf40 is by how much a cookie may be ahead of the clock and be waited for, with an idle time of 40 minutes.
const aheadOf40 = 5 * time.Minute

// What is ahead of the clock at the restart lives longer by that, and is waited for: cookies of a proxy whose
// clock is ahead, or of this one before its clock was set back, and those of several moves in a second.
func TestRecountingWaitsForCookiesThatAreAhead(t *testing.T) {
	config := balancer.Config{Idle: 40 * time.Minute}
	ahead := newWorld(t, config, "a", "b")
	ahead.now += aheadOf40.Milliseconds()
	_, skewed := ahead.get(nil)

	flaps := newWorld(t, config, "a", "b")
	if err := flaps.b.SetKeys(ahead.keys, t0); err != nil {
		t.Fatal(err)
	}
	first, flapped := flaps.get(nil)
	moves := 0
	for own := first.Upstream.ID(); moves < 400; moves++ { // all of them in one second
		flaps.failCheck(own, 3)
		c, next := flaps.get(flapped)
		if c.Lost == balancer.CauseNone || !c.Issue || c.Session != first.Session {
			t.Fatalf("move %d: %+v", moves, c)
		}
		flaps.passCheck(own, 3)
		own, flapped = c.Upstream.ID(), next
	}
	w := newWorld(t, config, "a", "b")
	if err := w.b.SetKeys(ahead.keys, t0); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cookie []byte
		lives  time.Duration
	}{
		"skewed":  {skewed, 50*time.Minute + aheadOf40},
		"flapped": {flapped, 50*time.Minute + aheadOf40/2},
	} {
		end := t0 + c.lives.Milliseconds()
		if l := w.p.Preview(&balancer.Request{Now: end, Cookie: c.cookie}); l.Refused != seal.Honoured || !w.p.Snapshot(end).Recounting {
			t.Errorf("%s, in its last second: refused %q, recounting %v", name, l.Refused, w.p.Snapshot(end).Recounting)
		}
		if l := w.p.Preview(&balancer.Request{Now: end + 1000, Cookie: c.cookie}); l.Refused != seal.RefusedIdle {
			t.Errorf("%s, after its end: refused %q", name, l.Refused)
		}
	}
	if sure := t0 + (50*time.Minute + aheadOf40 + time.Second).Milliseconds(); w.p.Snapshot(sure).Recounting {
		t.Error("recounting when none can live")
	}
}

// Sessions that have ended by a clock that was ahead, and were forgotten, live again when it is set right.
// Until they have ended for good the counts are not sure, also not of instances that came meanwhile.
func TestClockSetBackIsRecounted(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: 40 * time.Minute}, "a")
	w.now += (3 * time.Hour).Milliseconds()
	w.b.Tick(w.now)
	w.update(append(w.spec, balancer.Spec{ID: "young", Started: w.now})...)
	cookie := w.visitorOf("young")
	end := w.now + (50*time.Minute + time.Second).Milliseconds()
	w.get(cookie)
	for range 8 {
		w.b.Tick(end)
	}
	if n, _, known := w.p.Load("young", end); n != 0 || !known {
		t.Fatalf("when it has ended: %d sessions, known %v", n, known)
	}
	right := end - (2 * time.Minute).Milliseconds()
	if l := w.p.Preview(&balancer.Request{Now: right, Cookie: cookie}); l.Refused != seal.Honoured {
		t.Fatalf("two minutes before its end: %q", l.Refused)
	}
	for id, now := range map[string]int64{"young": right, "a": end - 2000} {
		if _, _, known := w.p.Load(id, now); known || !w.p.Snapshot(now).Recounting {
			t.Errorf("%s, while it may come back: known %v, recounting %v", id, known, w.p.Snapshot(now).Recounting)
		}
	}
	if _, _, known := w.p.Load("young", end); !known || w.p.Snapshot(end).Recounting {
		t.Errorf("at its end: known %v, recounting %v", known, w.p.Snapshot(end).Recounting)
	}
}

// A cookie that is issued anew is never older than the one before, nor than its session: behind a clock that is
// ahead another proxy would make one that all refuse, or that a table takes for one from before a move.
func TestCookieIsNotIssuedBackwards(t *testing.T) {
	config := balancer.Config{Idle: 40 * time.Minute}
	ahead, behind := newWorld(t, config, "a", "b"), newWorld(t, config, "a", "b")
	keys := rotated(ahead.keys, t0)
	ahead.setKeys(keys)
	behind.setKeys(keys)
	ahead.now += (4 * time.Minute).Milliseconds()
	_, cookie := ahead.get(nil)
	behind.now = t0 + keyLead.Milliseconds() + 1000
	behind.b.Tick(behind.now) // the next key signs
	first, next := behind.get(cookie)
	if !first.Pinned || !first.Issue {
		t.Fatalf("with the former key: %+v", first)
	}
	s := mustSealer(t, "shop", []seal.Key{keys[0]})
	if k, refused := seals.Open(s, next); refused != seal.Honoured || k.Issued < k.Start {
		t.Errorf("issued %+v, %q", k, refused)
	}
	if c, _ := behind.get(next); !c.Pinned || c.Session != first.Session {
		t.Errorf("with the next cookie: %+v", c)
	}
}

// What a longer idle time brings back the table has forgotten: until the last of it has come
// or ended the counts are not sure, but for instances that are younger.
func TestLongerTimesAreRecounted(t *testing.T) {
	short := balancer.Config{Idle: 40 * time.Minute, Life: 10 * time.Hour}
	for name, c := range map[string]struct {
		longer balancer.Config
		sure   time.Duration // after the reload
	}{
		"idle":    {balancer.Config{Idle: 80 * time.Minute, Life: short.Life}, 50*time.Minute + time.Second},
		"life":    {balancer.Config{Idle: short.Idle}, 50*time.Minute + time.Second},
		"shorter": {balancer.Config{Idle: 20 * time.Minute, Life: short.Life}, 0},
		"same":    {short, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, short, "a", "b")
			w.now += (3 * time.Hour).Milliseconds()
			_, cookie := w.get(nil)
			w.now += (50*time.Minute + time.Second).Milliseconds() // its end, as long as nothing changes
			if w.sessions() != 0 || w.p.Snapshot(w.now).Recounting {
				t.Fatalf("before: %d sessions, recounting %v", w.sessions(), w.p.Snapshot(w.now).Recounting)
			}
			w.c = c.longer
			w.update(append(w.spec, balancer.Spec{ID: "c", Started: w.now})...)
			back := w.p.Preview(&balancer.Request{Now: w.now, Cookie: cookie}).Refused == seal.Honoured
			if back != (name == "idle") {
				t.Errorf("the session is back: %v", back)
			}
			check := func(when string, want bool) {
				t.Helper()
				_, _, old := w.p.Load("a", w.now)
				_, _, young := w.p.Load("c", w.now)
				if got := w.p.Snapshot(w.now).Recounting; got != want || old == want || !young {
					t.Errorf("%s: recounting %v, sure of the old instance %v, of the young one %v", when, got, old, young)
				}
			}
			if c.sure > 0 {
				w.now += c.sure.Milliseconds() - 1
				check("a millisecond before", true)
				w.now++
			}
			check("after", false)
			if again := w.p.Preview(&balancer.Request{Now: w.now, Cookie: cookie}); again.Refused == seal.Honoured {
				t.Error("sure, while a session from before may come back")
			}
		})
	}
}

// A restored table is as old as the one that was saved, to the millisecond.
func TestRestoredTableIsAsSureAsTheSavedOne(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: 40 * time.Minute}, "a", "b")
	w.get(nil)
	var file bytes.Buffer
	if err := w.b.SaveSessions(&file); err != nil {
		t.Fatal(err)
	}
	w.now += (20 * time.Minute).Milliseconds()
	next := restarted(w)
	if n, err := next.b.RestoreSessions(bytes.NewReader(file.Bytes()), next.now); n != 1 || err != nil {
		t.Fatalf("restored %d, %v", n, err)
	}
	sure := t0 + (50*time.Minute + aheadOf40 + time.Second).Milliseconds()
	if !next.p.Snapshot(sure-1).Recounting || next.p.Snapshot(sure).Recounting {
		t.Error("is sure at another time than the table that was saved")
	}
}

func TestBurstAtTheEndOfItsWindow(t *testing.T) {
	for _, window := range []time.Duration{0, 500 * time.Millisecond} {
		w := newWorld(t, balancer.Config{}.WithBurst(window), "a", "b", "c", "d")
		if window == 0 {
			window = 2 * time.Second // as documented
		}
		r := balancer.Request{Visitor: balancer.Hash([]byte("slow"))}
		first := w.pick(r)
		w.now += window.Milliseconds()
		last := w.pick(r)
		if last.Session != first.Session || last.Upstream != first.Upstream || last.New {
			t.Errorf("at the end of %s: %+v, first was %+v", window, last, first)
		}
		w.now++
		late := w.pick(r)
		if late.Session == first.Session || !late.New {
			t.Errorf("a millisecond after %s: %+v", window, late)
		}
		// The late one is the first now, and the old one's end takes nothing from it.
		w.done(&first)
		if next := w.pick(r); next.Session != late.Session || w.sessions() != 2 {
			t.Errorf("beside the late one: %+v, %d sessions", next, w.sessions())
		}
	}
}
