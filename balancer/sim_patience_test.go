package balancer_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"portico/balancer"
	"portico/tests/support/race"
)

// TestSessionsOutliveTheirPaths is the law of patience, in virtual time: paths to instances close and open, processes
// die with and without anybody to say so, proxies stand still. No session is lost while its process lives and a path to it opens
// within the patience; nobody moves untold; nobody waits for a process that is known to be gone, for one that
// is back, or for longer than the patience.
func TestSessionsOutliveTheirPaths(t *testing.T) {
	seeds := []uint64{rand.Uint64(), rand.Uint64()}
	for n := range uint64(40) {
		seeds = append(seeds, n)
	}
	if testing.Short() || race.Enabled {
		seeds = seeds[:6]
	}
	if n, err := strconv.ParseUint(os.Getenv("PORTICO_SIM_SEED"), 10, 64); err == nil {
		seeds = []uint64{n}
	}
	all := map[string]int{}
	for _, seed := range seeds {
		s := newStorm(t, seed)
		for range 40_000 {
			s.step()
		}
		for what, n := range s.stats {
			all[what] += n
		}
	}
	t.Logf("%d seeds: %v", len(seeds), all)
	for _, what := range []string{"answered at home", "moved", "kept waiting", "stood still", "died and told", "died silently", "trial in vain", "trial"} {
		if all[what] == 0 && len(seeds) > 1 {
			t.Errorf("nothing was %q", what)
		}
	}
}

const (
	stormPatience = 60 * time.Second
	stormInterval = 2 * time.Second
)

// storm is a cluster whose paths close all the time.
type storm struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	now     int64
	hosts   []*stormHost
	proxies []*stormProxy
	jars    [30]string
	stats   map[string]int
	made    int
}

type stormHost struct {
	spec   balancer.Spec
	alive  bool
	told   bool   // that it is dead
	code   string // of checks while the path is closed
	closed int64  // since when, 0: it is open
	opened int64  // when it opened last
	until  int64  // when it opens again
}

func (h *stormHost) answers() bool { return h.alive && h.closed == 0 }

// stormGlimpse and stormLate are for how long a path must be open for a proxy to see that, and how long it
// may take until checks have told, in milliseconds.
const (
	stormGlimpse = 3000
	stormLate    = 10_000
)

type stormProxy struct {
	b     *balancer.Balancer
	p     *balancer.Pool
	due   map[*stormHost]int64
	still int64 // until when it stands still
	woke  int64
	lag   map[*stormHost]int64 // since the check before
	saw   map[*stormHost]int64 // when the path was last seen open
}

func newStorm(t *testing.T, seed uint64) *storm {
	s := &storm{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 2)), now: t0, stats: map[string]int{}}
	keys := newKeys()
	for range 4 {
		s.start()
	}
	for range 2 {
		px := &stormProxy{due: map[*stormHost]int64{}, lag: map[*stormHost]int64{}, saw: map[*stormHost]int64{}}
		var err error
		if px.b, err = balancer.New(balancer.Options{Keys: keys}); err != nil {
			t.Fatal(err)
		}
		if px.p, err = px.b.NewPool("shop", s.specs(), balancer.Config{Idle: 2 * time.Hour, Health: balancer.HealthRules{
			Grace: 3 * time.Second, Slow: 10 * time.Second, Patience: stormPatience,
		}}, s.now); err != nil {
			t.Fatal(err)
		}
		s.proxies = append(s.proxies, px)
	}
	return s
}

func (s *storm) start() {
	s.made++
	member := "server"
	if s.made%3 == 0 {
		member = "" // of the configuration file
	}
	id := "instance-" + strconv.Itoa(s.made)
	s.hosts = append(s.hosts, &stormHost{spec: balancer.Spec{ID: id, Name: id, Member: member}, alive: true, opened: s.now})
}

func (s *storm) specs() (list []balancer.Spec) {
	for _, h := range s.hosts {
		list = append(list, h.spec)
	}
	return list
}

func (s *storm) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("seed %d at %s: %s\n%v", s.seed, time.Duration(s.now-t0)*time.Millisecond, fmt.Sprintf(format, args...), s.stats)
}

func (s *storm) chance(n int) bool { return s.rng.IntN(n) == 0 }

// step lets a tenth of a second pass.
func (s *storm) step() {
	s.now += 100
	for _, h := range s.hosts {
		s.weather(h)
	}
	for _, px := range s.proxies {
		if s.now < px.still {
			continue
		}
		if s.chance(3000) {
			s.stand(px)
			continue
		}
		for _, h := range s.hosts {
			s.check(px, h)
			if open := s.now - max(h.opened, px.woke, t0); h.answers() && open > stormGlimpse && s.now-px.saw[h] > stormGlimpse {
				s.fail("%s is open since %d ms, and a proxy has not seen it for %d", h.spec.ID, open, s.now-px.saw[h])
			}
		}
		if s.chance(10) {
			px.b.Tick(s.now)
		}
		for range s.rng.IntN(3) {
			s.visit(px, s.rng.IntN(len(s.jars)))
		}
	}
}

// weather closes and opens the path to an instance, and ends its process.
func (s *storm) weather(h *stormHost) {
	switch {
	case h.closed != 0 && s.now >= h.until:
		h.closed, h.opened = 0, s.now
	case h.closed == 0 && h.alive && s.chance(600):
		h.closed, h.code = s.now, []string{"L4TOUT", "L4CON", "L7TOUT"}[s.rng.IntN(3)]
		h.until = s.now + s.rng.Int64N(stormPatience.Milliseconds()*3/2)
	case h.alive && s.chance(6000):
		h.alive = false
		if h.closed == 0 {
			h.closed, h.code = s.now, "L4CON"
		}
		h.until = s.now + 1<<40
		s.stats["died"]++
		if h.spec.Member != "" && s.chance(2) {
			s.tell(h)
		}
	case !h.alive && s.now-h.closed > 2*stormPatience.Milliseconds() && s.chance(100):
		s.replace(h)
	}
}

// tell says that a process has ended.
func (s *storm) tell(h *stormHost) {
	h.told = true
	s.stats["died and told"]++
	for _, px := range s.proxies {
		px.p.Upstream(h.spec.ID).Observe(balancer.Evidence{From: balancer.FromAgent, Exited: true}, s.now)
	}
}

// replace starts another instance for one that is dead.
func (s *storm) replace(dead *stormHost) {
	if !dead.told {
		s.stats["died silently"]++
	}
	for i, h := range s.hosts {
		if h == dead {
			s.hosts = append(s.hosts[:i], s.hosts[i+1:]...)
			break
		}
	}
	s.start()
	for _, px := range s.proxies {
		if err := px.p.Update(s.specs(), px.p.Config(), s.now); err != nil {
			s.fail("update: %v", err)
		}
	}
}

// stand lets a proxy stand still.
func (s *storm) stand(px *stormProxy) {
	d := s.rng.Int64N(stormPatience.Milliseconds())
	px.still, px.woke = s.now+d, s.now+d
	for _, h := range s.hosts {
		px.lag[h] += d
	}
	s.stats["stood still"]++
}

// check lets a proxy look at an instance when it is time.
func (s *storm) check(px *stormProxy, h *stormHost) {
	if s.now < px.due[h] {
		return
	}
	u := px.p.Upstream(h.spec.ID)
	e := balancer.Evidence{From: balancer.FromCheck, OK: true, Code: "L7OK", Status: 200}
	took := int64(0)
	if !h.answers() {
		e = balancer.Evidence{From: balancer.FromCheck, Code: h.code, Lag: time.Duration(px.lag[h]) * time.Millisecond}
		if h.code != "L4CON" {
			took = 1000 // the next one begins later by what this one waited for
		}
	}
	px.lag[h] = 0
	if e.OK {
		px.saw[h] = s.now
	}
	u.Observe(e, s.now)
	px.due[h] = s.now + took + u.NextCheck(stormInterval, s.rng.Uint64()).Milliseconds()
}

// visit lets a visitor come to a proxy, with as many attempts as it takes.
func (s *storm) visit(px *stormProxy, who int) {
	s.stats["visits"]++
	var home *stormHost
	r := balancer.Request{Now: s.now, Patient: true}
	if jar := s.jars[who]; jar != "" {
		r.Cookie = []byte(jar)
		home = s.hostOf(px, r.Cookie)
	}
	for {
		c := px.p.Picked(&r)
		if c.Await { // it takes too long
			px.p.Done(&c, balancer.Outcome{Now: s.now, Result: balancer.Refused})
			r.Patient = false
			continue
		}
		if c.Upstream == nil {
			px.p.Done(&c, balancer.Outcome{Now: s.now, Result: balancer.Refused})
			s.nobody(px, home, &c)
			return
		}
		at := s.host(c.Upstream.ID())
		if !at.answers() {
			if c.Trial {
				s.stats["trial in vain"]++
			}
			px.p.Done(&c, balancer.Outcome{Now: s.now, Result: balancer.ConnectFailed, Detail: "refused"})
			r.Exclude = append(r.Exclude, c.Upstream)
			continue
		}
		if c.Trial {
			s.stats["trial"]++
		}
		s.answered(px, who, home, at, &c)
		return
	}
}

func (s *storm) answered(px *stormProxy, who int, home, at *stormHost, c *balancer.Choice) {
	switch {
	case home == nil || !c.New && at == home:
		s.stats["answered at home"]++
	case c.New:
		s.fail("a visitor of %s began anew: %+v", home.spec.ID, c)
	case c.Lost == balancer.CauseNone:
		s.fail("a visitor of %s went to %s untold: %+v", home.spec.ID, at.spec.ID, c)
	case home.alive && s.now-px.saw[home] < stormPatience.Milliseconds():
		s.fail("a visitor of %s, which lives and was seen %d ms ago, lost the session: %+v, %+v", home.spec.ID, s.now-px.saw[home], *home, c)
	default:
		s.stats["moved"]++
	}
	px.saw[at] = s.now
	if c.Issue {
		s.jars[who] = string(px.p.AppendCookie(nil, c))
	}
	px.p.Done(c, balancer.Outcome{Now: s.now, Status: 200, Total: time.Millisecond, Reused: true})
}

// nobody looks at a visitor who was sent away.
func (s *storm) nobody(px *stormProxy, home *stormHost, c *balancer.Choice) {
	up := 0
	for _, u := range px.p.Upstreams() {
		if u.InRotation() {
			up++
		}
	}
	switch {
	case home == nil || up == 0:
		s.stats["nobody was up"]++
	case home.told:
		s.fail("a visitor waits for %s, whose end was told: %+v", home.spec.ID, c)
	case home.answers() && s.now-max(home.opened, px.woke) > stormLate:
		s.fail("a visitor waits for %s, which is back since %d ms: %+v", home.spec.ID, s.now-home.opened, c)
	case home.closed != 0 && s.now-max(home.closed, px.woke) > stormPatience.Milliseconds()+stormLate:
		s.fail("a visitor waits for %s, whose path is closed since %d ms: %+v", home.spec.ID, s.now-home.closed, c)
	default:
		s.stats["kept waiting"]++
	}
}

func (s *storm) host(id string) *stormHost {
	for _, h := range s.hosts {
		if h.spec.ID == id {
			return h
		}
	}
	s.fail("unknown upstream %s", id)
	return nil
}

// hostOf returns the instance that a cookie leads to; nil: it was replaced.
func (s *storm) hostOf(px *stormProxy, cookie []byte) *stormHost {
	for _, u := range px.p.Upstreams() {
		if string(cookie[:10]) == u.Token().String() {
			return s.host(u.ID())
		}
	}
	return nil
}
