package balancer_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/conf/sites"
	"portico/tests/support/race"
	"portico/tests/support/seals"
)

// The simulator plays visits in virtual time against several proxies that share
// nothing but the session keys, while instances join, die, are cut off, drained
// and replaced, and keys rotate. After each visit it checks the laws of sessions
// against what it knows to be true. What is true is what the proxy that is asked
// can know: its view of the instances (sim_view_test.go) may be behind another's.
//
//  1. A visitor whose instance lives, can be reached by this proxy and is wanted, as
//     far as this proxy has heard, stays there.
//  2. A visitor who changes the instance is told once by each proxy that moves him,
//     with a cause that is true of its view. "unknown" is one only of an instance
//     that this proxy has not heard of since its start.
//  3. Nobody comes back to an instance that he has left, without being told again.
//     Those are excepted who had requests on their way through two proxies of
//     different views at once, or one after the other as quickly as the clocks of these
//     differ, and, at a proxy that has not seen them since they left, those who have
//     lost the sticky cookie: see law 17.
//  4. Parallel requests of one visitor through one proxy end on one instance; through
//     several, as long as none of these has a reason to move him.
//  5. Instances that drain, retire, rest or were never checked get no new visitors
//     from a proxy that has heard of it, while another is up.
//  6. An idempotent request fails only when nobody can serve it.
//  7. The table of a proxy counts exactly the sessions whose cookies it would honour,
//     where it saw them last. So it is too high by those that have gone elsewhere through
//     other proxies, for an idle time and a quarter at most.
//  8. least-sessions places each new session where this proxy counts fewest for the weight
//     that an instance has by now.
//  16. All proxies that have an instance together count at least the sessions that live
//     on it, but for those that say that they count anew: when none of them counts
//     any, nobody is there.
//  17. With the application's token alone a visitor comes back to where this proxy saw
//     the session of that token last, under laws 1 and 2, if the application told it
//     there, or the proxy has seen it nowhere else. That is where he is, if he was last
//     answered through this proxy. A proxy that has not seen the token takes him for a
//     new visitor.
//  18. Who begins a session, or must move, goes to an instance of another zone than the
//     proxy's, or to a backup, only while this proxy knows of no nearer one that is up.
//
// The other simulator, rush, holds laws 9 to 15.

type simInstance struct {
	spec    balancer.Spec
	alive   bool            // the process runs
	cut     bool            // the network to its member is down
	everCut bool            // since it started: some proxy may have believed it down
	opened  map[string]bool // the application's own sessions, by token
	simState
}

// How much the clocks of proxies with views of their own differ at most, in milliseconds: where the clocks are not
// what is played, and where they are. The latter is as much as a table takes into account (see balancer's ahead)
// beside what cookies of moves are ahead.
const (
	simSkew  = 4_000
	simClock = 75_000
)

type simShadow struct {
	home    *simInstance
	issued  int64
	start   int64
	touched int64 // by a request, s.now
	kept    bool  // the application has opened a session, and the cookie is on its way
}

type simVisitor struct {
	id    uint64
	jar   string
	token string // of the application
	home  *simInstance
	left  map[*simInstance]bool
	split bool  // requests of his session ended on two instances
	moves int   // how often he came elsewhere
	moved int64 // when, last
}

type sim struct {
	t         *testing.T
	seed      uint64
	rng       *rand.Rand
	now       int64
	config    balancer.Config
	apart     bool    // the views of the proxies differ
	clocks    bool    // they are minutes apart and are set, and some visitors hurry
	zones     bool    // see simWorld
	app       *simApp // nil: nobody looks for the application's token
	proxies   []*simProxy
	keyLine   [][]seal.Key // versions of the keys, the newest last
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

// simWorld is what kinds of simulations differ in.
type simWorld struct {
	proxies int
	apart   bool
	clocks  bool
	zones   bool // of proxies and instances; some of these are backups
	app     *simApp
	part    int // of the visits that are played; 0: all
}

func newSim(t *testing.T, seed uint64, w simWorld, c balancer.Config) *sim {
	s := &sim{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), now: t0, config: c,
		apart: w.apart, clocks: w.clocks, app: w.app, stats: map[string]int{},
	}
	s.keyLine = [][]seal.Key{s.secrets([]seal.Key{seals.NewKey(1, time.UnixMilli(t0))})}
	s.zones = w.zones
	for range 4 {
		s.join(s.release)
	}
	for i := range w.proxies {
		px := &simProxy{keys: s.keyLine[0], config: c, blocked: map[*simInstance]bool{}}
		if s.zones {
			px.config.Zone = []string{"east", "west", ""}[i%3]
		}
		if s.apart {
			px.skew = s.clock()
		}
		s.proxies = append(s.proxies, px)
		s.start(px)
	}
	s.update()
	s.check()
	for i := range 400 {
		s.visitors = append(s.visitors, &simVisitor{id: uint64(i + 1), left: map[*simInstance]bool{}})
	}
	return s
}

// skew is by how much clocks differ at most, in milliseconds.
func (s *sim) skew() int64 {
	if s.clocks {
		return simClock
	}
	return simSkew
}

// clock is by how much a clock is wrong. Clocks are set by two seconds at least: a table does not notice less than one.
func (s *sim) clock() int64 {
	n := int64(s.rng.IntN(int(s.skew()))) - s.skew()/2
	if s.clocks {
		n -= n % 2000
	}
	return n
}

func (s *sim) run(visits int) {
	events, checks := int64(0), int64(0)
	for s.stats["visits"] < visits {
		s.now += int64(s.rng.IntN(120))
		s.deliver()
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

func TestSimulation(t *testing.T) {
	visits := 15_000
	if testing.Short() || race.Enabled {
		visits = 2_000
	}
	if n, err := strconv.Atoi(os.Getenv("PORTICO_SIM_VISITS")); err == nil {
		visits = n
	}
	run := func(name string, w simWorld, c balancer.Config) {
		t.Run(name, func(t *testing.T) {
			seeds := []uint64{rand.Uint64(), 1, 2}
			if n, err := strconv.ParseUint(os.Getenv("PORTICO_SIM_SEED"), 10, 64); err == nil {
				seeds = []uint64{n}
			}
			for _, seed := range seeds {
				s := newSim(t, seed, w, c)
				s.run(visits / max(w.part, 1))
				t.Logf("seed %d: %v", seed, s.stats)
			}
		})
	}
	base := balancer.Config{Idle: 10 * time.Minute, Policy: sites.PolicyLeastSessions}
	run("one proxy", simWorld{proxies: 1}, base)
	life := base
	life.Life = 30 * time.Minute
	run("one proxy, sessions of half an hour", simWorld{proxies: 1}, life)
	for _, policy := range sites.Policies() {
		c := base
		c.Policy = policy
		run("three proxies, "+string(policy), simWorld{proxies: 3}, c)
	}
	run("two proxies with views of their own", simWorld{proxies: 2, apart: true, part: 2}, base)
	run("three proxies with views of their own", simWorld{proxies: 3, apart: true, part: 2}, life)
	for _, policy := range []sites.Policy{sites.PolicyLeastSessions, sites.PolicySource} {
		c := base
		c.Policy, c.SlowStart = policy, 30*time.Second
		run("five proxies with views of their own, zones, slow start, "+string(policy), simWorld{proxies: 5, apart: true, zones: true, part: 4}, c)
	}
	run("one proxy whose clock is set", simWorld{proxies: 1, apart: true, clocks: true, part: 4}, base)
	run("three proxies with clocks a minute apart", simWorld{proxies: 3, apart: true, clocks: true, part: 4}, life)
	for _, app := range simApps {
		run("one proxy, token in a "+app.name, simWorld{proxies: 1, app: &app, part: 10}, base)
		run("two proxies, token in a "+app.name, simWorld{proxies: 2, app: &app, part: 10}, base)
		run("two proxies with views of their own, token in a "+app.name, simWorld{proxies: 2, apart: true, app: &app, part: 10}, base)
	}
}
