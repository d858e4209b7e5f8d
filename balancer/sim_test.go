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
//
// The other simulator, rush, holds laws 9 to 15.

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
