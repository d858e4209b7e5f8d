package balancer_test

import (
	"maps"
	"slices"

	"portico/balancer"
	"portico/balancer/seal"
)

// simState is what the catalog says of an instance.
type simState struct {
	retiring bool
	removed  bool
	admin    balancer.AdminState
	end      balancer.Cause
}

// simProxy is a proxy with its view of the world. Where the views are apart, catalog
// changes and what agents tell arrive late and at each proxy in its own time, links to single
// instances break, clocks differ, and a proxy can be cut off from the catalog or
// start anew without memory, while visitors go on to use it.
type simProxy struct {
	b      *balancer.Balancer
	p      *balancer.Pool
	config balancer.Config // the simulation's, with a zone
	keys   []seal.Key
	valid  []seal.Key            // of keys, the one that signs first, as they were arranged last
	shadow map[uint64]*simShadow // what the table should know
	tokens map[string]*simToken  // what it should know of the application's tokens

	seen    map[*simInstance]simState // as it was told last; absent: never since its start
	blocked map[*simInstance]bool     // it cannot reach them now
	doubted map[*simInstance]bool     // it could not once
	inbox   []simNews                 // that has not arrived
	offline bool                      // nothing of it arrives
	skew    int64                     // of its clock, milliseconds
}

// simNews is a piece of news on its way to a proxy.
type simNews struct {
	at int64
	do func()
}

// start gives a proxy an empty memory and the present view.
func (s *sim) start(px *simProxy) {
	var err error
	if px.b, err = balancer.New(balancer.Options{Keys: px.keys}.WithRand(s.rng.Uint64)); err != nil {
		s.t.Fatal(err)
	}
	if px.p, err = px.b.NewPool("shop", nil, px.config, s.at(px)); err != nil {
		s.t.Fatal(err)
	}
	px.shadow, px.tokens = map[uint64]*simShadow{}, map[string]*simToken{}
	px.seen, px.doubted = map[*simInstance]simState{}, maps.Clone(px.blocked)
	px.inbox, px.offline = nil, false
	s.arrange(px)
	s.apply(px, s.version())
}

// arrange takes note of which key signs, and which others open.
func (s *sim) arrange(px *simProxy) {
	px.valid = slices.Clone(px.keys)
	if px.keys[0].From.UnixMilli() > s.at(px) {
		px.valid[0], px.valid[1] = px.valid[1], px.valid[0]
	}
	px.valid = slices.DeleteFunc(px.valid, func(k seal.Key) bool { return !k.Until.IsZero() && k.Until.UnixMilli() <= s.at(px) })
}

// at is the time by a proxy's clock.
func (s *sim) at(px *simProxy) int64 { return s.now + px.skew }

// reaches reports whether a proxy gets an answer of an instance.
func (px *simProxy) reaches(in *simInstance) bool {
	return in.alive && !in.cut && !px.blocked[in]
}

// send lets something happen at a proxy: at once, or some time later.
func (s *sim) send(px *simProxy, do func()) {
	if !s.apart {
		do()
		return
	}
	at := s.now
	if s.rng.IntN(3) == 0 {
		at += int64(s.rng.IntN(8000))
	}
	if n := len(px.inbox); n > 0 {
		at = max(at, px.inbox[n-1].at)
	}
	px.inbox = append(px.inbox, simNews{at, do})
}

// deliver lets arrive what is due.
func (s *sim) deliver() {
	for _, px := range s.proxies {
		for !px.offline && len(px.inbox) > 0 && px.inbox[0].at <= s.now {
			do := px.inbox[0].do
			px.inbox = px.inbox[1:]
			do()
		}
	}
}

// simVersion is a version of the catalog.
type simVersion struct {
	instances []*simInstance
	states    []simState
}

func (s *sim) version() (v simVersion) {
	for _, in := range s.instances {
		v.instances, v.states = append(v.instances, in), append(v.states, in.simState)
	}
	return v
}

// update tells all proxies of the present version.
func (s *sim) update() {
	v := s.version()
	for _, px := range s.proxies {
		s.send(px, func() { s.apply(px, v) })
	}
}

// apply gives a proxy a version of the catalog.
func (s *sim) apply(px *simProxy, v simVersion) {
	var specs []balancer.Spec
	for i, in := range v.instances {
		st := v.states[i]
		if _, known := px.seen[in]; known || !st.removed {
			px.seen[in] = st
		}
		if st.removed {
			if u := px.p.Upstream(in.spec.ID); u != nil && st.end != balancer.CauseNone {
				u.SetEnd(st.end)
			}
			continue
		}
		sp := in.spec
		sp.Retiring = st.retiring
		specs = append(specs, sp)
	}
	if err := px.p.Update(specs, px.config, s.at(px)); err != nil {
		s.fail("update: %v", err)
	}
	for i, in := range v.instances {
		if u := px.p.Upstream(in.spec.ID); u != nil {
			u.SetAdmin(v.states[i].admin, "simulated", s.at(px))
		}
	}
}

// check lets all proxies check all instances. With views of their own, some come too late.
func (s *sim) check() {
	for _, px := range s.proxies {
		px.b.Tick(s.at(px))
		s.arrange(px)
		if s.apart && s.rng.IntN(3) == 0 {
			continue
		}
		for _, in := range s.instances {
			if u := px.p.Upstream(in.spec.ID); u != nil {
				u.Observe(balancer.Evidence{From: balancer.FromCheck, OK: px.reaches(in), Code: "L7OK"}, s.at(px))
			}
		}
	}
}

// drift changes what one proxy alone sees.
func (s *sim) drift() {
	px := s.proxies[s.rng.IntN(len(s.proxies))]
	kinds := 6
	if s.clocks {
		kinds = 10
	}
	switch s.rng.IntN(kinds) {
	case 0, 1:
		in := s.pick(s.present())
		px.blocked[in], px.doubted[in] = true, true
		s.stats["link down"]++
	case 2:
		clear(px.blocked)
	case 3:
		px.offline = true
		s.stats["cut off"]++
	case 4:
		px.offline = false
	case 5:
		if s.rng.IntN(4) == 0 {
			s.start(px)
			s.stats["start"]++
		}
	case 6, 7, 8:
		s.sweep(px) // what it does once a second
		px.skew = s.clock()
		s.stats["clock set"]++
	case 9:
		s.powerCut()
	}
}

// powerCut lets all proxies start anew. Then nobody comes until the tables are about to be sure that they know
// everybody, when some may still have cookies that are good.
func (s *sim) powerCut() {
	for _, px := range s.proxies {
		px.skew = s.clock()
		s.start(px)
	}
	s.now += (s.config.Idle + s.config.Idle/4).Milliseconds() + int64(s.rng.IntN(4*simClock))
	s.spreadKeys()
	s.check()
	s.count()
	s.stats["power cut"]++
}

// forget drops instances that no visitor and no proxy remembers, to keep the lists short.
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
		for _, u := range px.p.Upstreams() {
			used[s.byID(u.ID())] = true
		}
		for _, t := range px.tokens {
			used[t.at] = true
		}
	}
	unused := func(in *simInstance) bool { return in.removed && !used[in] }
	for _, px := range s.proxies {
		maps.DeleteFunc(px.seen, func(in *simInstance, _ simState) bool { return unused(in) })
	}
	s.instances = slices.DeleteFunc(slices.Clone(s.instances), unused)
}
