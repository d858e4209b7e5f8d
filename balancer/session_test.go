package balancer_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"sync"
	"testing"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/balancer/sessions"
)

func TestSessionsEndByThemselves(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: time.Hour, Life: 3 * time.Hour}, "a", "b")
	total := func() int {
		w.b.Sessions().SweepAll(w.now)
		return w.up("a").Sessions() + w.up("b").Sessions()
	}
	var cookies [][]byte
	for range 100 {
		_, cookie := w.get(nil)
		cookies = append(cookies, cookie)
	}
	if n := total(); n != 100 {
		t.Fatalf("%d sessions, want 100", n)
	}
	// Forty are used every half hour. The others end 1.25 idle times after
	// their cookie was issued, exactly when the cookie is refused.
	for step := 1; step <= 7; step++ {
		w.now += (30 * time.Minute).Milliseconds()
		for i := range 40 {
			_, cookies[i] = w.get(cookies[i])
		}
		want := 40
		switch {
		case step <= 2:
			want = 100
		case step == 7:
			want = 40 // ended by age, and begun anew
		}
		if n := total(); n != want {
			t.Errorf("after %d half hours: %d sessions, want %d", step, n, want)
		}
	}
	if c, _ := w.get(cookies[50]); c.Refused != seal.RefusedLife && c.Refused != seal.RefusedIdle {
		t.Errorf("a cookie whose session ended: %+v", c)
	}
}

func TestTableAtItsBound(t *testing.T) {
	keys := newKeys()
	b, err := balancer.New(balancer.Options{Keys: keys, MaxSessions: 500})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.NewPool("shop", []balancer.Spec{{ID: "a"}}, balancer.Config{}, t0)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, b: b, p: p, keys: keys, now: t0}
	w.passAll()
	var regulars [][]byte
	for range 100 {
		_, cookie := w.get(nil)
		w.get(cookie) // comes back
		regulars = append(regulars, cookie)
	}
	for range 10_000 { // a robot that ignores cookies
		w.now += 10
		w.get(nil)
	}
	st := b.Sessions().Stats()
	if st.Entries != 500 || w.up("a").Sessions() != 500 || st.Evicted != 9600 {
		t.Errorf("%d entries, %d counted, %d gave way", st.Entries, w.up("a").Sessions(), st.Evicted)
	}
	kept, _ := b.Sessions().List(p.Name(), 1000, func(s *balancer.SessionInfo) bool { return s.Returned })
	if len(kept) != 100 {
		t.Errorf("the robot drove out %d of 100 regulars", 100-len(kept))
	}
	for _, cookie := range regulars {
		if c, _ := w.get(cookie); !c.Pinned {
			t.Fatal("a pin is lost")
		}
	}
}

func TestListAndFind(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b")
	var ids []uint64
	for range 50 {
		w.now += 1000
		c, _ := w.get(nil)
		ids = append(ids, c.Session)
	}
	list, total := w.b.Sessions().List(w.p.Name(), 10, nil)
	if len(list) != 10 || total != 50 {
		t.Fatalf("%d of %d", len(list), total)
	}
	for i, s := range list {
		if s.ID != ids[49-i] || s.Last != t0/1000+int64(50-i) || s.Start != s.Last {
			t.Errorf("entry %d is %+v, want %d", i, s, ids[49-i])
		}
	}
	if s, ok := w.b.Sessions().Find(ids[3]); !ok || s.ID != ids[3] {
		t.Errorf("Find: %+v %v", s, ok)
	}
	if _, ok := w.b.Sessions().Find(1); ok {
		t.Error("found what is not there")
	}
	other, err := w.b.NewPool("other", nil, balancer.Config{}, w.now)
	if err != nil {
		t.Fatal(err)
	}
	if list, total := w.b.Sessions().List(other.Name(), 10, nil); len(list) != 0 || total != 0 {
		t.Error("another site's sessions are listed")
	}
}

func TestForecast(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: time.Hour}, "a", "b")
	cookies := map[string][]byte{}
	for i, id := range []string{"a", "a", "b"} {
		c := w.visitorOf(id)
		if i == 0 {
			c = mustSealer(t, "shop", w.keys).Seal(nil, seal.Cookie{Token: w.up("a").Token(), Session: 4711, Issued: w.now / 1000, Start: w.now/1000 - 3600})
		}
		w.get(c)
		cookies[id] = c
	}
	w.now += (20 * time.Minute).Milliseconds()
	w.get(cookies["a"])
	running := w.pick(balancer.Request{Cookie: cookies["a"]})
	w.now += (2 * time.Minute).Milliseconds()

	l := w.b.Forecast([]*balancer.Upstream{w.up("a")}, w.now)
	want := balancer.Loss{InFlight: 1, Recounting: true, Loss: sessions.Loss{
		Sessions: 2, Recent: 1, Oldest: 82 * time.Minute,
		Idlest: 22 * time.Minute,
		Ends:   t0 + (95 * time.Minute).Milliseconds(),
	}}
	if l != want {
		t.Errorf("forecast %+v, want %+v", l, want)
	}
	w.done(&running)
	if l := w.b.Forecast(w.p.Upstreams(), w.now); l.Sessions != 3 {
		t.Errorf("both: %+v", l)
	}
	if l := w.b.Forecast(nil, w.now); l != (balancer.Loss{}) {
		t.Errorf("nothing: %+v", l)
	}
	w.now += (2 * time.Hour).Milliseconds()
	if l := w.b.Forecast(w.p.Upstreams(), w.now); l.Sessions != 0 || l.Recounting {
		t.Errorf("hours later: %+v", l)
	}
}

func TestLoadIsSureOfYoungInstances(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "old", Started: t0 - 1000}, balancer.Spec{ID: "ahead", Started: t0 + 1000})
	w.now += 500
	w.update(append(w.spec, balancer.Spec{ID: "young", Started: t0 + 1000})...)
	if _, _, known := w.p.Load("old", t0+2000); known {
		t.Error("sure of an instance that is older than the table")
	}
	if _, _, known := w.p.Load("ahead", t0+2000); known {
		t.Error("sure of an instance that was there before the table, because its server's clock is ahead")
	}
	if _, _, known := w.p.Load("young", t0+2000); !known {
		t.Error("not sure of an instance whose whole life was seen")
	}
	if _, _, known := w.p.Load("old", t0+(2*time.Hour).Milliseconds()); !known {
		t.Error("not sure after hours")
	}
}

func TestSaveAndRestore(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b", "c")
	var cookies [][]byte
	for range 3000 {
		_, cookie := w.get(nil)
		cookies = append(cookies, cookie)
	}
	var file bytes.Buffer
	if err := w.b.SaveSessions(&file); err != nil {
		t.Fatal(err)
	}
	data := file.Bytes()

	next := newWorld(t, balancer.Config{}, "b", "a") // c is gone
	next.keys = w.keys
	if err := next.b.SetKeys(w.keys, w.now); err != nil {
		t.Fatal(err)
	}
	n, err := next.b.RestoreSessions(bytes.NewReader(data), w.now)
	if err != nil || n != w.up("a").Sessions()+w.up("b").Sessions() {
		t.Fatalf("restored %d sessions, %v", n, err)
	}
	for _, id := range []string{"a", "b"} {
		if got, want := next.up(id).Sessions(), w.up(id).Sessions(); got != want {
			t.Errorf("%s has %d sessions, had %d", id, got, want)
		}
	}
	later := w.now + (43 * time.Minute).Milliseconds()
	if next.p.Snapshot(w.now).Recounting != w.p.Snapshot(w.now).Recounting || next.p.Snapshot(later).Recounting {
		t.Error("counts anew what was restored")
	}
	for _, cookie := range cookies {
		next.get(cookie)
	}
	if got := next.up("a").Sessions() + next.up("b").Sessions(); got != 3000 {
		t.Errorf("%d sessions after all came back, want 3000", got)
	}
	for _, cut := range []int{0, 3, 20, len(data) - 1} {
		if _, err := newWorld(t, balancer.Config{}, "a").b.RestoreSessions(bytes.NewReader(data[:cut]), w.now); err == nil {
			t.Errorf("the first %d bytes were taken for a table", cut)
		}
	}
	data[len(data)/2] ^= 0x40
	other := newWorld(t, balancer.Config{}, "a", "b")
	if n, err := other.b.RestoreSessions(bytes.NewReader(data), w.now); err == nil || n != 0 || other.up("a").Sessions() != 0 {
		t.Errorf("%d sessions of a damaged table were taken, %v", n, err)
	}
}

// What a proxy has seen start it knows wholly, and so does the one that takes over
// its table, also what came while neither ran.
func TestRestoredTableIsSureOfWhatItSawStart(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "old"}, balancer.Spec{ID: "ahead", Started: t0 + 1000})
	w.now += 500
	w.update(append(w.spec, balancer.Spec{ID: "young", Started: t0 + 1000})...)
	w.get(nil)
	var file bytes.Buffer
	if err := w.b.SaveSessions(&file); err != nil {
		t.Fatal(err)
	}
	next := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "old"}, balancer.Spec{ID: "ahead", Started: t0 + 1000}, balancer.Spec{ID: "young"}, balancer.Spec{ID: "newcomer"})
	if _, err := next.b.RestoreSessions(bytes.NewReader(file.Bytes()), t0+2000); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"old": false, "ahead": false, "young": true, "newcomer": true} {
		if _, _, known := next.p.Load(id, t0+3000); known != want {
			t.Errorf("%s: known %v, want %v", id, known, want)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b", "c")
	stop := make(chan struct{})
	var background, wg sync.WaitGroup
	background.Add(1)
	go func() {
		defer background.Done()
		for i := int64(0); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			now := t0 + i
			w.p.Upstream("a").SetAdmin(balancer.AdminState(i%3), "", now)
			w.p.Upstream("b").Observe(balancer.Evidence{From: balancer.FromCheck, OK: i%5 != 0}, now)
			specs := []balancer.Spec{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d"}}
			if err := w.p.Update(specs[:3+i%2], balancer.Config{}, now); err != nil {
				t.Error(err)
			}
			w.b.Tick(now)
			w.p.Snapshot(now)
			w.b.Forecast(w.p.Upstreams(), now)
			w.b.Sessions().List(w.p.Name(), 5, nil)
		}
	}()
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var cookie []byte
			for i := range int64(2000) {
				r := balancer.Request{Now: t0 + i, Cookie: cookie, Visitor: uint64(i % 7)}
				c := w.p.Picked(&r)
				if c.Upstream != nil && c.Issue {
					cookie = w.p.AppendCookie(cookie[:0], &c)
				}
				result := balancer.Answered
				if i%50 == 0 {
					result, cookie = balancer.ConnectFailed, nil
				}
				w.p.Done(&c, balancer.Outcome{Now: t0 + i, Result: result, Status: 200, Total: time.Second})
			}
		}()
	}
	wg.Wait()
	close(stop)
	background.Wait()
	for _, u := range w.p.Upstreams() {
		if u.InFlight() != 0 {
			t.Errorf("%s has %d in flight", u.ID(), u.InFlight())
		}
	}
}

func FuzzRestore(f *testing.F) {
	w := newWorld(f, balancer.Config{}, "a", "b")
	for range 5 {
		w.get(nil)
	}
	var file bytes.Buffer
	if err := w.b.SaveSessions(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte("portico sessions 2\n\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWorld(t, balancer.Config{}, "a", "b")
		data = binary.LittleEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
		_, err := w.b.RestoreSessions(bytes.NewReader(data), t0)
		st := w.b.Sessions().Stats()
		if n := w.up("a").Sessions() + w.up("b").Sessions(); n > st.Entries || n < 0 {
			t.Fatalf("%d counted, %d entries (%v)", n, st.Entries, err)
		}
		w.get(nil)
	})
}

func FuzzTicket(f *testing.F) {
	w := newWorldOf(f, balancer.Config{}, balancer.Spec{ID: "a", MaxSessions: 1})
	f.Add(w.p.JoinWaitingRoom(nil, nil, t0).Ticket)
	f.Add([]byte("AAAA"))
	f.Fuzz(func(t *testing.T, shown []byte) {
		if place := w.p.JoinWaitingRoom(nil, shown, t0); place.Position == 0 && len(place.Ticket) != 0 {
			t.Fatalf("%+v", place)
		}
	})
}
