package balancer_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"portico/balancer"
	"portico/internal/race"
)

// The simulator plays visits in virtual time against several proxies that share
// nothing but the session keys, while instances join, die, are cut off, drained
// and replaced, and keys rotate. After each visit it checks the laws of sessions
// against what it knows to be true.
//
//	1. A visitor whose instance lives, can be reached and is wanted stays there.
//	2. A visitor who changes the instance is told once, with a true cause.
//	3. Nobody comes back to an instance that he has left, without being told again.
//	4. Parallel requests of one visitor end on one instance.
//	5. Instances that drain, retire, rest or were never checked get no new visitors
//	   while another is up.
//	6. An idempotent request fails only when nobody can serve it.
//	7. The table counts exactly the sessions whose cookies it would honour.
//	8. least-sessions places each new session where there are fewest.

type simInstance struct {
	spec     balancer.Spec
	alive    bool // the process runs
	cut      bool // the network to its member is down
	retiring bool
	removed  bool
	admin    balancer.AdminState
	everCut  bool // since it started: some proxy may have believed it down
	end      balancer.Cause
}

func (i *simInstance) answers() bool { return i.alive && !i.cut }

type simProxy struct {
	b      *balancer.Balancer
	p      *balancer.Pool
	keys   []balancer.Key
	shadow map[uint64]*shadowSession // what the table should know
}

type shadowSession struct {
	home   *simInstance
	issued int64
	start  int64
}

type simVisitor struct {
	id   uint64
	jar  string
	home *simInstance
	left map[*simInstance]bool
}

type sim struct {
	t         *testing.T
	seed      uint64
	rng       *rand.Rand
	now       int64
	config    balancer.Config
	proxies   []*simProxy
	keyLine   [][]balancer.Key // versions of the keys, the newest last
	instances []*simInstance
	visitors  []*simVisitor
	next      int
	release   int
	stats     map[string]int
}

func (s *sim) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("seed %d at %s: %s\n%v", s.seed, time.Duration(s.now-t0)*time.Millisecond, fmt.Sprintf(format, args...), s.stats)
}

func newSim(t *testing.T, seed uint64, proxies int, c balancer.Config) *sim {
	s := &sim{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), now: t0, config: c, stats: map[string]int{}}
	s.keyLine = [][]balancer.Key{{balancer.NewKey(1, time.UnixMilli(t0))}}
	for range 4 {
		s.join(s.release)
	}
	for range proxies {
		b, err := balancer.New(balancer.Options{Keys: s.keyLine[0], Rand: s.rng.Uint64})
		if err != nil {
			t.Fatal(err)
		}
		p, err := b.NewPool("shop", nil, c, s.now)
		if err != nil {
			t.Fatal(err)
		}
		s.proxies = append(s.proxies, &simProxy{b: b, p: p, keys: s.keyLine[0], shadow: map[uint64]*shadowSession{}})
	}
	s.update()
	s.check()
	for i := range 400 {
		s.visitors = append(s.visitors, &simVisitor{id: uint64(i + 1), left: map[*simInstance]bool{}})
	}
	return s
}

func (s *sim) join(release int) *simInstance {
	s.next++
	in := &simInstance{alive: true}
	in.spec = balancer.Spec{
		ID: "instance-" + strconv.Itoa(s.next), Name: "i" + strconv.Itoa(s.next), Addr: "127.0.0.1:1",
		Release: "r" + strconv.Itoa(release), Weight: []int{50, 100, 100, 200}[s.next%4], Started: s.now,
	}
	s.instances = append(s.instances, in)
	return in
}

// update hands the present instances to all proxies.
func (s *sim) update() {
	for _, px := range s.proxies {
		var specs []balancer.Spec
		for _, in := range s.instances {
			if in.removed {
				if u := px.p.Upstream(in.spec.ID); u != nil && in.end != balancer.CauseNone {
					u.SetEnd(in.end)
				}
				continue
			}
			sp := in.spec
			sp.Retiring = in.retiring
			specs = append(specs, sp)
		}
		if err := px.p.Update(specs, s.config, s.now); err != nil {
			s.fail("update: %v", err)
		}
		for _, in := range s.instances {
			if u := px.p.Upstream(in.spec.ID); u != nil {
				u.SetAdmin(in.admin, "simulated", s.now)
			}
		}
	}
}

// check lets all proxies check all instances.
func (s *sim) check() {
	for _, px := range s.proxies {
		for _, in := range s.instances {
			if u := px.p.Upstream(in.spec.ID); u != nil {
				u.Observe(balancer.Evidence{From: balancer.FromCheck, OK: in.answers(), Code: "L7OK"}, s.now)
			}
		}
		px.b.Tick(s.now)
	}
}

func (s *sim) present() (list []*simInstance) {
	for _, in := range s.instances {
		if !in.removed {
			list = append(list, in)
		}
	}
	return list
}

func (s *sim) pick(list []*simInstance) *simInstance { return list[s.rng.IntN(len(list))] }

// event lets one thing happen that is not a visit.
func (s *sim) event() {
	list := s.present()
	switch s.rng.IntN(12) {
	case 0, 1: // a process exits, and its agent tells
		if in := s.pick(list); in.alive {
			in.alive = false
			for _, px := range s.proxies {
				px.p.Upstream(in.spec.ID).Observe(balancer.Evidence{From: balancer.FromAgent, Exited: true}, s.now)
			}
			s.stats["exit"]++
		}
	case 2: // a process dies silently
		s.pick(list).alive = false
		s.stats["kill"]++
	case 3: // a member is cut off
		in := s.pick(list)
		in.cut, in.everCut = true, true
		s.stats["cut"]++
	case 4, 5: // and comes back
		for _, in := range list {
			in.cut = false
		}
	case 6: // dead ones are replaced by new starts
		for _, in := range list {
			if !in.alive {
				in.removed = true
				if !in.retiring {
					s.join(s.release)
				}
			}
		}
		s.update()
	case 7: // a deploy
		s.release++
		for _, in := range list {
			if !in.retiring && !in.removed {
				in.retiring = true
				s.join(s.release)
			}
		}
		s.update()
		s.stats["deploy"]++
	case 8: // the end of retired ones
		for _, in := range list {
			if in.retiring && s.rng.IntN(2) == 0 {
				in.removed, in.end = true, balancer.CauseDeadline
			}
		}
		s.update()
	case 9, 10: // an operator
		in := s.pick(list)
		in.admin = balancer.AdminState(s.rng.IntN(3))
		if s.rng.IntN(2) == 0 {
			for _, in := range list {
				in.admin = balancer.AdminReady
			}
		}
		s.update()
	case 11:
		s.rotate()
	}
}

// rotate begins a rotation, unless one is under way. The next key signs keyLead later;
// proxies hear of it at any time before.
func (s *sim) rotate() {
	newest := s.keyLine[len(s.keyLine)-1]
	if newest[0].From.UnixMilli() > s.now || len(newest) > 1 && newest[1].Until.UnixMilli() > s.now {
		return
	}
	s.keyLine = append(s.keyLine, rotated(newest, s.now))
	s.stats["rotation"]++
}

// spreadKeys lets proxies hear of new keys, by chance, and all of them before a key signs.
func (s *sim) spreadKeys() {
	newest := s.keyLine[len(s.keyLine)-1]
	late := s.now >= newest[0].From.Add(-keyLead/8).UnixMilli()
	for _, px := range s.proxies {
		if &px.keys[0] == &newest[0] || !late && s.rng.IntN(50) != 0 {
			continue
		}
		px.keys = newest
		if err := px.b.SetKeys(px.keys, s.now); err != nil {
			s.fail("keys: %v", err)
		}
	}
}

// visit plays one visit, sometimes of several parallel requests.
func (s *sim) visit() {
	v := s.visitors[s.rng.IntN(len(s.visitors))]
	if s.rng.IntN(200) == 0 { // somebody new with another browser
		*v = simVisitor{id: s.rng.Uint64(), left: map[*simInstance]bool{}}
	}
	px := s.proxies[s.rng.IntN(len(s.proxies))]
	n := 1
	if s.rng.IntN(8) == 0 {
		n = 2 + s.rng.IntN(5)
	}
	sent := v.jar
	home := s.liveHome(px, v)
	var jars []string
	var at []*simInstance
	told := 0
	var trail, open []balancer.Choice
	for range n {
		c, in := s.request(px, v, sent, home)
		if in == nil {
			s.noteNobody(px, v, home, sent)
			continue
		}
		at, open = append(at, in), append(open, c)
		if c.Lost != balancer.CauseNone {
			told++
			trail = append(trail, c)
			s.checkLoss(px, v, home, in, &c)
		}
		if c.New {
			clear(v.left)
		}
		if told == 0 {
			s.checkStay(px, v, home, in, &c)
		}
		if c.Issue {
			jars = append(jars, string(px.p.AppendCookie(nil, &c)))
		}
		s.note(px, &c, in, sent)
	}
	for i, in := range at {
		px.p.Done(&open[i], balancer.Outcome{Now: s.now, Status: 200, Total: time.Millisecond, Reused: true})
		if in != at[0] {
			s.fail("law 4: parallel requests of one visitor went to %s and %s", at[0].spec.ID, in.spec.ID)
		}
	}
	if told > 1 {
		s.fail("law 2: the loss was told %d times: %+v", told, trail)
	}
	if len(at) > 0 && v.home != at[0] {
		if v.home != nil {
			v.left[v.home] = true
		}
		v.home = at[0]
	}
	if len(jars) > 0 {
		v.jar = jars[s.rng.IntN(len(jars))]
	}
	s.stats["visits"] += n
}

// liveHome returns where the visitor's session is if it lives by its cookie.
func (s *sim) liveHome(px *simProxy, v *simVisitor) *simInstance {
	if v.jar == "" {
		return nil
	}
	sealer, err := balancer.NewSealer("shop", px.keys)
	if err != nil {
		s.fail("sealer: %v", err)
	}
	k, refused := sealer.Open([]byte(v.jar))
	if refused == balancer.RefusedKey && k.Judge(s.now/1000, s.config.Idle, 0) == balancer.RefusedIdle {
		return nil
	}
	if refused != balancer.Honoured {
		s.fail("law 1: a cookie of ours is refused: %s", refused)
	}
	if sh := px.shadow[k.Session]; sh != nil && !sh.home.removed {
		k.Issued = max(k.Issued, sh.issued) // another tab has a newer cookie
	}
	if k.Judge(s.now/1000, s.config.Idle, s.config.Life) != balancer.Honoured {
		return nil
	}
	return v.home
}

// request plays one request up to its answer, with as many attempts as it takes.
func (s *sim) request(px *simProxy, v *simVisitor, cookie string, home *simInstance) (balancer.Choice, *simInstance) {
	r := balancer.Request{Now: s.now, Visitor: v.id}
	if cookie != "" {
		r.Cookie = []byte(cookie)
	}
	for {
		before := s.loads(px)
		c := px.p.Pick(&r)
		if c.Upstream == nil {
			s.checkNobody(px, home, &c)
			px.p.Done(&c, balancer.Outcome{Now: s.now, Result: balancer.Refused})
			s.stats["503"]++
			return c, nil
		}
		in := s.byID(c.Upstream.ID())
		for _, x := range r.Exclude {
			if x == c.Upstream {
				s.fail("tried %s twice", in.spec.ID)
			}
		}
		s.checkPlacement(px, in, &c, before)
		if in.answers() {
			return c, in
		}
		px.p.Done(&c, balancer.Outcome{Now: s.now, Result: balancer.ConnectFailed, Detail: "refused"})
		if c.Upstream.InRotation() {
			s.fail("%s takes new visitors after a failed connection", in.spec.ID)
		}
		r.Exclude = append(r.Exclude, c.Upstream)
		s.stats["second attempts"]++
	}
}

func (s *sim) byID(id string) *simInstance {
	for _, in := range s.instances {
		if in.spec.ID == id {
			return in
		}
	}
	s.fail("unknown upstream %s", id)
	return nil
}

func (s *sim) loads(px *simProxy) map[string]int {
	m := map[string]int{}
	for _, u := range px.p.Upstreams() {
		m[u.ID()] = u.Sessions()
	}
	return m
}

// mayLose reports whether the visitor of an instance may be moved by a proxy, and
// for which causes.
func (s *sim) mayLose(px *simProxy, in *simInstance) map[balancer.Cause]bool {
	causes := map[balancer.Cause]bool{}
	u := px.p.Upstream(in.spec.ID)
	if !in.alive {
		causes[balancer.CauseExited], causes[balancer.CauseNetwork], causes[balancer.CauseMember] = true, true, true
	}
	if in.cut || in.everCut && (u == nil || u.State() == balancer.Down) {
		causes[balancer.CauseNetwork], causes[balancer.CauseMember] = true, true
	}
	if in.admin == balancer.AdminMaint {
		causes[balancer.CauseOperator] = true
	}
	if in.removed {
		if in.end != balancer.CauseNone {
			causes[in.end] = true
		}
		causes[balancer.CauseOperator] = causes[balancer.CauseOperator] || in.admin == balancer.AdminMaint
		causes[balancer.CauseDeadline] = causes[balancer.CauseDeadline] || in.retiring
		causes[balancer.CauseExited] = true
	}
	return causes
}

func (s *sim) checkLoss(px *simProxy, v *simVisitor, home, in *simInstance, c *balancer.Choice) {
	if home == nil && v.home != nil && v.home.removed {
		return // the table may remember what the cookie alone does not say
	}
	if home == nil {
		s.fail("law 2: a visitor without a session was told %q: %+v, shadow %+v", c.Lost, c, px.shadow[c.Session])
	}
	if home == in {
		s.fail("law 2: told %q and stayed on %s", c.Lost, in.spec.ID)
	}
	if !s.mayLose(px, home)[c.Lost] {
		s.fail("laws 1, 2: cause %q is not true of %+v", c.Lost, *home)
	}
	s.stats["lost "+c.Lost.String()]++
}

func (s *sim) checkStay(px *simProxy, v *simVisitor, home, in *simInstance, c *balancer.Choice) {
	if home == nil || home == in {
		return
	}
	if c.Lost == balancer.CauseNone && v.home == home && !c.Pinned {
		s.fail("law 2: moved from %s to %s without being told: %+v", home.spec.ID, in.spec.ID, c)
	}
	if v.left[in] && c.Lost == balancer.CauseNone {
		s.fail("law 3: back on %s without being told", in.spec.ID)
	}
}

func (s *sim) checkNobody(px *simProxy, home *simInstance, c *balancer.Choice) {
	for _, u := range px.p.Upstreams() {
		if in := s.byID(u.ID()); in.answers() && u.InRotation() && in.admin == balancer.AdminReady {
			s.fail("law 6: %s, while %s could answer", c.None, in.spec.ID)
		}
	}
	if home != nil && len(s.mayLose(px, home)) == 0 {
		s.fail("law 1: %s for a visitor of %s", c.None, home.spec.ID)
	}
}

func (s *sim) checkPlacement(px *simProxy, in *simInstance, c *balancer.Choice, before map[string]int) {
	if !c.New && c.Lost == balancer.CauseNone {
		return
	}
	if in.retiring || in.admin != balancer.AdminReady {
		s.fail("law 5: %+v got a new visitor", *in)
	}
	ready := 0
	for _, u := range px.p.Upstreams() {
		if u.InRotation() {
			ready++
		}
	}
	if ready > 0 && c.FailOpen {
		s.fail("law 5: %s got a visitor by fail open while %d were up", in.spec.ID, ready)
	}
	if !c.New || c.FailOpen || s.config.Policy != balancer.LeastSessions {
		return
	}
	mine := (before[in.spec.ID] + 1) * 1000 / in.spec.Weight
	for _, u := range px.p.Upstreams() {
		if u.InRotation() && (before[u.ID()]+1)*1000/u.Spec().Weight < mine && u != c.Upstream {
			s.fail("law 8: %s has %d sessions, %s only %d", in.spec.ID, before[in.spec.ID], u.ID(), before[u.ID()])
		}
	}
}

// note keeps the shadow of the table.
func (s *sim) note(px *simProxy, c *balancer.Choice, in *simInstance, sent string) {
	sh := px.shadow[c.Session]
	if sh == nil {
		sh = &shadowSession{start: c.Start}
		px.shadow[c.Session] = sh
	}
	sh.home = in
	sealer, err := balancer.NewSealer("shop", px.keys)
	if err != nil {
		s.fail("sealer: %v", err)
	}
	if c.Issue {
		sent = string(px.p.AppendCookie(nil, c))
	}
	k, refused := sealer.Open([]byte(sent))
	if refused != balancer.Honoured {
		s.fail("cookie refused: %s", refused)
	}
	if c.Issue && (k.Session != c.Session || k.Token != c.Upstream.Token()) {
		s.fail("the cookie says %+v, the choice was %+v", k, c)
	}
	sh.issued = max(sh.issued, k.Issued)
}

// noteNobody keeps the shadow of a visit that found nobody: the table has learned
// from its cookie all the same.
func (s *sim) noteNobody(px *simProxy, v *simVisitor, home *simInstance, sent string) {
	if home == nil || home.removed {
		return
	}
	sealer, err := balancer.NewSealer("shop", px.keys)
	if err != nil {
		s.fail("sealer: %v", err)
	}
	k, _ := sealer.Open([]byte(sent))
	sh := px.shadow[k.Session]
	if sh == nil {
		sh = &shadowSession{start: k.Start}
		px.shadow[k.Session] = sh
	}
	if k.Issued >= sh.issued {
		sh.home, sh.issued = home, k.Issued
	}
	if k.Stale(s.now/1000, s.config.Idle) {
		sh.issued = max(sh.issued, s.now/1000)
	}
}

// count compares the tables with their shadows.
func (s *sim) count() {
	for _, px := range s.proxies {
		px.b.Sessions().SweepAll(s.now)
		want := map[string]int{}
		for id, sh := range px.shadow {
			k := balancer.Cookie{Issued: sh.issued, Start: sh.start}
			if sh.home.removed || k.Judge(s.now/1000, s.config.Idle, s.config.Life) != balancer.Honoured {
				delete(px.shadow, id)
				continue
			}
			want[sh.home.spec.ID]++
		}
		for _, u := range px.p.Upstreams() {
			got := u.Sessions()
			if slack := s.slack(px, u); got < want[u.ID()] || got > want[u.ID()]+slack {
				s.fail("law 7: the table counts %d sessions on %s, there are %d (slack %d): %s", got, u.ID(), want[u.ID()], slack, s.difference(px, u))
			}
		}
	}
}

// difference names the sessions that only one side has.
func (s *sim) difference(px *simProxy, u *balancer.Upstream) (text string) {
	list, _ := px.b.Sessions().List(px.p, 1<<20, nil)
	in := map[uint64]bool{}
	for _, x := range list {
		if x.Upstream != u {
			continue
		}
		in[x.ID] = true
		if sh := px.shadow[x.ID]; sh == nil || sh.home.spec.ID != u.ID() {
			text += fmt.Sprintf(" only in the table %+v, shadow %+v", x, sh)
		}
	}
	for id, sh := range px.shadow {
		if sh.home.spec.ID == u.ID() && !in[id] {
			info, ok := px.b.Sessions().Find(id)
			text += fmt.Sprintf(" only in the shadow %d: %+v, table %+v %v", id, sh, info, ok)
		}
	}
	return text
}

// slack is how many sessions a table may have that the shadow lacks: those whose
// requests found nobody were touched without being answered.
func (s *sim) slack(px *simProxy, u *balancer.Upstream) int { return 0 }

func (s *sim) run(visits int) {
	events, checks := int64(0), int64(0)
	for s.stats["visits"] < visits {
		s.now += int64(s.rng.IntN(120))
		if s.now >= checks {
			checks = s.now + 500
			s.check()
			s.spreadKeys()
		}
		if s.now >= events {
			events = s.now + 1000 + int64(s.rng.IntN(20000))
			s.event()
			if s.rng.IntN(20) == 0 {
				s.now += s.config.Idle.Milliseconds() * int64(s.rng.IntN(3)) / 2 // a quiet night
				s.spreadKeys()
				s.check()
				s.check()
				s.check()
			}
			if s.rng.IntN(5) == 0 {
				s.count()
			}
			if len(s.present()) == 0 {
				s.join(s.release)
				s.update()
			}
			s.forget()
		}
		s.visit()
	}
}

// forget drops instances that no visitor remembers, to keep the lists short.
func (s *sim) forget() {
	if len(s.instances) < 200 {
		return
	}
	used := map[*simInstance]bool{}
	for _, v := range s.visitors {
		used[v.home] = true
	}
	for _, px := range s.proxies {
		for _, sh := range px.shadow {
			used[sh.home] = true
		}
	}
	kept := s.instances[:0]
	for _, in := range s.instances {
		if !in.removed || used[in] {
			kept = append(kept, in)
		}
	}
	s.instances = kept
}

func TestSimulation(t *testing.T) {
	visits := 15_000
	if testing.Short() || race.Enabled {
		visits = 2_000
	}
	if n, err := strconv.Atoi(os.Getenv("PORTICO_SIM_VISITS")); err == nil {
		visits = n
	}
	run := func(name string, proxies int, c balancer.Config) {
		t.Run(name, func(t *testing.T) {
			seeds := []uint64{rand.Uint64(), 1, 2}
			if n, err := strconv.ParseUint(os.Getenv("PORTICO_SIM_SEED"), 10, 64); err == nil {
				seeds = []uint64{n}
			}
			for _, seed := range seeds {
				s := newSim(t, seed, proxies, c)
				s.run(visits)
				t.Logf("seed %d: %v", seed, s.stats)
			}
		})
	}
	base := balancer.Config{Idle: 10 * time.Minute, Policy: balancer.LeastSessions}
	run("one proxy", 1, base)
	life := base
	life.Life = 30 * time.Minute
	run("one proxy, sessions of half an hour", 1, life)
	for _, policy := range balancer.Policies() {
		c := base
		c.Policy = policy
		run("three proxies, "+policy, 3, c)
	}
}
