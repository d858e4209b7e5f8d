package balancer_test

import (
	"sync"
	"testing"
	"time"

	"portico/balancer"
	"portico/tests/support/race"
)

// TestLargeTableComesTogether: once a large table is half full its shards come together in one piece
// of memory, and part when most sessions have ended. All that is known stays, and visits go on meanwhile.
func TestLargeTableComesTogether(t *testing.T) {
	const limit, many, few = 1 << 17, 95_000, 1_000
	keys := newKeys()
	b, err := balancer.New(balancer.Options{Keys: keys, MaxSessions: limit})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.NewPool("shop", []balancer.Spec{{ID: "a"}}, balancer.Config{Health: balancer.HealthRules{Off: true}, Idle: 10 * time.Minute}, t0)
	if err != nil {
		t.Fatal(err)
	}
	s, now := b.Sessions(), int64(t0)
	rounds := func() {
		for range 16 {
			b.Tick(now)
		}
	}
	var ids []uint64
	var cookies [][]byte
	enter := func(n int) {
		for range n {
			c := p.Picked(&balancer.Request{Now: now})
			if len(ids) < few {
				ids, cookies = append(ids, c.Session), append(cookies, p.AppendCookie(nil, &c))
			}
			p.Done(&c, balancer.Outcome{Now: now, Status: 200, Reused: true})
		}
	}
	visitAll := func() {
		for i, cookie := range cookies {
			c := p.Picked(&balancer.Request{Now: now, Cookie: cookie})
			if !c.Pinned || c.Session != ids[i] {
				t.Errorf("session %d of %d: %+v", i, len(cookies), c)
			}
			p.Done(&c, balancer.Outcome{Now: now, Status: 200, Reused: true})
			if in, ok := s.Find(ids[i]); !ok || in.ID != ids[i] {
				t.Errorf("session %d of %d is gone from the table", i, len(ids))
			}
		}
	}
	beside := func(f func()) {
		var busy sync.WaitGroup
		busy.Go(visitAll)
		f()
		busy.Wait()
		visitAll()
	}
	enter(many / 2)
	rounds()
	apart := s.Stats()
	enter(many / 2)
	beside(rounds)
	together := s.Stats()
	if together.Entries != many || together.Evicted != 0 || p.Upstream("a").Sessions() != many {
		t.Errorf("entered %d sessions, counted %d: %+v", many, p.Upstream("a").Sessions(), together)
	}
	if whole := 24 * together.Room * 4 / 3; apart.Bytes > whole*2/3 || together.Bytes < whole || together.Bytes > whole+whole/50 {
		t.Errorf("the table takes %d bytes, then %d; with all its room in one piece it is %d", apart.Bytes, together.Bytes, whole)
	}
	if !race.Enabled {
		enter(together.Room) // it is full, and some give way
	}
	if full := s.Stats(); full.Bytes != together.Bytes || !race.Enabled && (full.Entries < full.Room*98/100 || full.Evicted == 0) {
		t.Errorf("full: %+v", full)
	}
	now += (12 * time.Minute).Milliseconds()
	ids, cookies = nil, nil
	enter(few)
	now += (2 * time.Minute).Milliseconds()
	beside(rounds)
	if left := s.Stats(); left.Entries != few || left.Bytes > few*24*5 {
		t.Errorf("%d sessions are left: %+v", few, left)
	}
}
