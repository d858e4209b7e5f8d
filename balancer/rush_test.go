package balancer_test

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"portico/balancer"
	"portico/tests/support/race"
)

// rush is the other simulator: requests that last, instances with too few places and too
// few seats, people who wait for either and give up, and limits, checks, drains and instances
// that change meanwhile. Its laws, looked at after every event:
//
//  9. No instance has more requests in flight than its limit, while that limit lasts.
//  10. Who begins a session, or must move, never takes a seat beyond the ceiling.
//  11. A place that becomes free goes to those whose session is there, before anybody else.
//  12. Nobody waits for a place while there is one.
//  13. Nobody waits for a seat while there is one and nobody stands before him; a place in
//     the waiting room never moves backwards.
//  14. A site without state tells nobody of a loss.
//  15. Who was handed a place has it; who gave up has none. In the end nothing is in flight,
//     nobody waits, and the table counts what it lists.
type rush struct {
	t        *testing.T
	seed     uint64
	rng      *rand.Rand
	now      int64
	config   balancer.Config
	b        *balancer.Balancer
	p        *balancer.Pool
	specs    []balancer.Spec
	loosened map[string]bool // its limits were lowered: what runs may go on
	agenda   agenda
	people   []*person
	waiting  map[*person]bool // for a place
	room     map[*person]bool // for a seat
	next     int
	visits   int
	closed   bool // nobody comes any more
	stats    map[string]int
}

type person struct {
	id       uint64
	jar      []byte
	ticket   []byte
	position int
	shown    int64 // when the ticket was
	tries    int
	w        *balancer.Waiter
	meant    *balancer.Upstream // where w first wanted to go
}

// deed is something that happens at a moment.
type deed struct {
	at int64
	n  int
	do func()
}

type agenda []deed

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].n < a[j].n
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(deed)) }
func (a *agenda) Pop() any {
	old := *a
	x := old[len(old)-1]
	*a = old[:len(old)-1]
	return x
}

func (r *rush) in(ms int64, do func()) {
	r.next++
	heap.Push(&r.agenda, deed{at: r.now + ms, n: r.next, do: do})
}

func (r *rush) fail(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("seed %d at %s: %s\n%v", r.seed, time.Duration(r.now-t0)*time.Millisecond, fmt.Sprintf(format, args...), r.stats)
}

func newRush(t *testing.T, seed uint64, c balancer.Config, s balancer.Spec) *rush {
	r := &rush{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 2)), now: t0, config: c,
		loosened: map[string]bool{}, waiting: map[*person]bool{}, room: map[*person]bool{}, stats: map[string]int{},
	}
	var err error
	if r.b, err = balancer.New(balancer.Options{Keys: newKeys()}.WithRand(r.rng.Uint64)); err != nil {
		t.Fatal(err)
	}
	if r.p, err = r.b.NewPool("shop", nil, c, r.now); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		r.join(s)
	}
	for range 150 {
		who := &person{id: r.rng.Uint64()}
		r.people = append(r.people, who)
		r.in(int64(r.rng.IntN(20_000)), func() { r.come(who) })
	}
	r.in(1000, r.tick)
	r.in(3000, r.trouble)
	return r
}

func (r *rush) join(s balancer.Spec) {
	r.next++
	s.ID = "instance-" + strconv.Itoa(r.next)
	r.specs = append(r.specs, s)
	r.update()
	r.p.Upstream(s.ID).Observe(balancer.Evidence{From: balancer.FromCheck, OK: true, Code: "L7OK"}, r.now)
}

func (r *rush) update() {
	if err := r.p.Update(r.specs, r.config, r.now); err != nil {
		r.fail("update: %v", err)
	}
}

func (r *rush) tick() {
	if r.closed {
		return
	}
	r.b.Tick(r.now)
	r.in(1000, r.tick)
}

// trouble lets one thing happen that is no request.
func (r *rush) trouble() {
	if r.closed {
		return
	}
	ups := r.p.Upstreams()
	u := ups[r.rng.IntN(len(ups))]
	switch r.rng.IntN(7) {
	case 0:
		u.Observe(balancer.Evidence{From: balancer.FromAgent, Exited: true}, r.now)
	case 1, 2:
		for _, u := range ups {
			for range 3 {
				u.Observe(balancer.Evidence{From: balancer.FromCheck, OK: true, Code: "L7OK"}, r.now)
			}
		}
	case 3:
		u.SetAdmin(balancer.AdminState(r.rng.IntN(3)), "", r.now)
	case 4:
		for _, u := range ups {
			u.SetAdmin(balancer.AdminReady, "", r.now)
		}
	case 5: // other limits
		i := r.rng.IntN(len(r.specs))
		s := &r.specs[i]
		if s.MaxConns > 0 {
			n := 1 + r.rng.IntN(6)
			r.loosened[s.ID] = r.loosened[s.ID] || n < s.MaxConns
			s.MaxConns = n
		}
		if s.MaxSessions > 0 {
			s.MaxSessions = 5 + r.rng.IntN(40)
		}
		r.update()
	case 6: // one goes, another comes
		i := r.rng.IntN(len(r.specs))
		s := r.specs[i]
		r.specs = append(r.specs[:i:i], r.specs[i+1:]...)
		r.join(s)
	}
	r.stats["trouble"]++
	r.in(500+int64(r.rng.IntN(8000)), r.trouble)
}

// come is a visit of somebody.
func (r *rush) come(who *person) {
	if r.closed {
		return
	}
	if r.rng.IntN(60) == 0 { // somebody else with another browser
		delete(r.room, who)
		*who = person{id: r.rng.Uint64()}
	}
	r.visits++
	q := balancer.Request{Now: r.now, Visitor: who.id, Cookie: who.jar, Ticket: who.ticket}
	seats, before := r.seats(), r.p.Preview(&q).Before
	c := r.p.Picked(&q)
	if c.Upstream == nil {
		r.nobody(who, &c, seats, before)
		return
	}
	r.entered(who, &c)
	if !c.Queue {
		r.serve(who, c)
		return
	}
	r.stats["queued"]++
	w := &balancer.Waiter{Choice: c, Go: func(w *balancer.Waiter) { r.handed(who, w) }}
	who.w, who.meant = w, c.Upstream
	r.waiting[who] = true
	if !r.p.Enqueue(w, r.now) {
		delete(r.waiting, who)
		r.p.Done(&w.Choice, balancer.Outcome{Now: r.now, Result: balancer.Refused})
		r.stats["queue full"]++
		r.later(who)
		return
	}
	r.in(1+int64(r.rng.IntN(int(r.config.Queue.Milliseconds()))), func() { r.giveUp(who, w) })
}

// entered holds the laws of who has got in.
func (r *rush) entered(who *person, c *balancer.Choice) {
	if r.room[who] && c.New {
		delete(r.room, who)
		who.ticket, who.position = nil, 0
		r.stats["out of the room"]++
	}
	u := c.Upstream
	most := u.Spec().MaxSessions
	if (c.New || c.Lost != balancer.CauseNone && !c.Pinned) && !c.FailOpen && most > 0 && u.Seated() > most {
		r.fail("law 10: %s has %d seats taken, its ceiling is %d: %+v", u.ID(), u.Seated(), most, c)
	}
	if c.Lost != balancer.CauseNone {
		r.stats["lost"]++
		if u.Spec().Unpinned {
			r.fail("law 14: told of the loss %q", c.Lost)
		}
	}
}

// handed is called when a place has become free for somebody, or will not.
func (r *rush) handed(who *person, w *balancer.Waiter) {
	if !r.waiting[who] || who.w != w {
		r.fail("law 15: who does not wait was handed a place: %+v", w.Choice)
	}
	delete(r.waiting, who)
	who.w = nil
	c := w.Choice
	if !c.Admitted() {
		r.stats["waited in vain"]++
		r.in(0, func() {
			r.p.Done(&c, balancer.Outcome{Now: r.now, Result: balancer.Refused})
			r.come(who)
		})
		return
	}
	if c.New || c.Session == 0 {
		for other := range r.waiting {
			if o := &other.w.Choice; o.Upstream == c.Upstream && !o.New && o.Session != 0 {
				r.fail("law 11: a new visitor got a place at %s before one whose session is there", c.Upstream.ID())
			}
		}
		if most := c.Upstream.Spec().MaxSessions; c.Upstream != who.meant && most > 0 && c.Session != 0 && c.Upstream.Seated() > most {
			r.fail("law 10: %s has %d sessions, its ceiling is %d: by the queue", c.Upstream.ID(), c.Upstream.Seated(), most)
		}
	}
	r.stats["handed a place"]++
	r.in(0, func() { r.serve(who, c) })
}

func (r *rush) giveUp(who *person, w *balancer.Waiter) {
	if who.w != w || !r.waiting[who] {
		return
	}
	if !r.p.Cancel(w) {
		r.fail("law 15: who waits is not in the queue: %+v", w.Choice)
	}
	delete(r.waiting, who)
	who.w = nil
	r.stats["gave up"]++
	r.later(who)
}

// serve lets an admitted request last.
func (r *rush) serve(who *person, c balancer.Choice) {
	r.p.Answering(&c)
	if c.Issue && !r.config.NotSticky {
		who.jar = r.p.AppendCookie(nil, &c)
	}
	r.in(1+int64(r.rng.IntN(2000)), func() {
		o := balancer.Outcome{Now: r.now, Status: 200, Total: time.Second / 2, Reused: true}
		if r.rng.IntN(30) == 0 {
			o.Status, o.Result = 0, balancer.ResponseFailed
		}
		r.p.Done(&c, o)
		r.later(who)
	})
}

func (r *rush) later(who *person) {
	r.in(int64(r.rng.IntN(12_000)), func() { r.come(who) })
}

// nobody is a visit that found no instance.
func (r *rush) nobody(who *person, c *balancer.Choice, seats int64, before int) {
	r.p.Done(c, balancer.Outcome{Now: r.now, Result: balancer.Refused})
	r.stats[c.None.String()]++
	if c.None != balancer.NoneFull {
		for _, u := range r.p.Upstreams() {
			if u.InRotation() {
				r.fail("law 6: %s, while %s is in rotation", c.None, u.ID())
			}
		}
		r.later(who)
		return
	}
	if seats > int64(before) {
		r.fail("law 13: no seat for %+v, while %d are free and %d stand before", who, seats, before)
	}
	if c.Session != 0 {
		r.later(who) // has lost a session, and comes again before those who wait
		return
	}
	place := r.p.JoinWaitingRoom(nil, who.ticket, r.now)
	if r.now-who.shown <= 20_000 && who.position > 0 && place.Position > who.position {
		r.fail("law 13: from position %d back to %d", who.position, place.Position)
	}
	who.ticket, who.position, who.shown = place.Ticket, place.Position, r.now
	who.tries++
	r.room[who] = true
	if who.tries > 3 && r.rng.IntN(20) == 0 {
		delete(r.room, who)
		*who = person{id: r.rng.Uint64()}
		r.stats["left the room"]++
		r.later(who)
		return
	}
	r.in(4000+int64(r.rng.IntN(2000)), func() { r.come(who) })
}

// seats returns how many sessions may begin.
func (r *rush) seats() (n int64) {
	for _, u := range r.p.Upstreams() {
		most := u.Spec().MaxSessions
		if u.InRotation() && most == 0 {
			return 1 << 40
		}
		if u.InRotation() {
			n += int64(max(most-u.Sessions(), 0))
		}
	}
	return n
}

// hold looks at the laws that always hold.
func (r *rush) hold() {
	for _, u := range r.p.Upstreams() {
		most := u.Spec().MaxConns
		if most == 0 {
			continue
		}
		n := u.InFlight()
		if n <= most {
			delete(r.loosened, u.ID())
		} else if !r.loosened[u.ID()] {
			r.fail("law 9: %s has %d requests, its limit is %d", u.ID(), n, most)
		}
		if n >= most {
			continue
		}
		for who := range r.waiting {
			c := &who.w.Choice
			bound := c.Session != 0 && !c.New
			if bound && c.Upstream == u && u.Admin() != balancer.AdminMaint && u.State() != balancer.Down || !bound && u.InRotation() && r.mayTake(u, c) {
				r.fail("law 12: %s has room, and somebody waits: %+v", u.ID(), c)
			}
		}
	}
}

// mayTake reports whether u takes a new visitor who was first meant for another one at once.
// Where it depends on a seat, it may take a second, until the next tick.
func (r *rush) mayTake(u *balancer.Upstream, c *balancer.Choice) bool {
	return c.Upstream == u || c.Session == 0 || u.Spec().MaxSessions == 0
}

func (r *rush) run(visits int) {
	for r.visits < visits {
		d := heap.Pop(&r.agenda).(deed)
		r.now = d.at
		d.do()
		r.hold()
	}
	r.end()
}

// end lets everything come to its end.
func (r *rush) end() {
	r.closed = true
	for len(r.agenda) > 0 {
		d := heap.Pop(&r.agenda).(deed)
		r.now = d.at
		d.do()
		r.hold()
	}
	if n := r.p.Snapshot(r.now).Queued; n != 0 || len(r.waiting) != 0 {
		r.fail("law 15: %d wait in the end, %d by our account", n, len(r.waiting))
	}
	listed := map[*balancer.Upstream]int{}
	list, _ := r.b.Sessions().List(r.p.Name(), 1<<20, nil)
	for _, s := range list {
		listed[s.Upstream]++
	}
	for _, u := range r.p.Upstreams() {
		if u.InFlight() != 0 || u.Sessions() != listed[u] {
			r.fail("law 15: %s has %d requests in the end, counts %d sessions and lists %d", u.ID(), u.InFlight(), u.Sessions(), listed[u])
		}
	}
}

// rushSeeds are seeds that have found something.
var rushSeeds = []uint64{
	11764581976365136109, // who waited for a place was sent to an instance without a seat
	11731792404471121632, // visitors of a site without state were told of a loss when their instance left the pool
	4614453468274163606,  // who came within the same millisecond stood before somebody who had been told a position
}

func TestRush(t *testing.T) {
	visits := 15_000
	if testing.Short() || race.Enabled {
		visits = 3_000
	}
	if n, err := strconv.Atoi(os.Getenv("PORTICO_SIM_VISITS")); err == nil {
		visits = n
	}
	base := balancer.Config{Idle: 2 * time.Minute, Queue: 3 * time.Second}.WithQueueMax(60)
	loose := base
	loose.NotSticky = true
	for _, tt := range []struct {
		name string
		c    balancer.Config
		s    balancer.Spec
	}{
		{"too few places", base, balancer.Spec{MaxConns: 4}},
		{"too few seats", base, balancer.Spec{MaxSessions: 25}},
		{"too few of both", base, balancer.Spec{MaxConns: 4, MaxSessions: 30}},
		{"no state", base, balancer.Spec{MaxConns: 4, Unpinned: true}},
		{"not sticky", loose, balancer.Spec{MaxConns: 4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seeds := append([]uint64{rand.Uint64()}, rushSeeds...)
			if n, err := strconv.ParseUint(os.Getenv("PORTICO_SIM_SEED"), 10, 64); err == nil {
				seeds = []uint64{n}
			}
			for _, seed := range seeds {
				r := newRush(t, seed, tt.c, tt.s)
				r.run(visits)
				t.Logf("seed %d: %v", seed, r.stats)
			}
		})
	}
}
