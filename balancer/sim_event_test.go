package balancer_test

import (
	"strconv"

	"portico/balancer"
	"portico/balancer/seal"
)

func (s *sim) join(release int) *simInstance {
	s.next++
	in := &simInstance{alive: true, opened: map[string]bool{}}
	in.spec = balancer.Spec{
		ID: "instance-" + strconv.Itoa(s.next), Name: "i" + strconv.Itoa(s.next), Addr: "127.0.0.1:1",
		Release: "r" + strconv.Itoa(release), Weight: []int{50, 100, 100, 200}[s.next%4], Started: s.now,
	}
	if s.zones {
		in.spec.Zone, in.spec.Backup = []string{"east", "west"}[s.next%2], s.next%5 == 0
	}
	if s.clocks {
		in.spec.Started += s.clock() // by its server's clock
	}
	s.instances = append(s.instances, in)
	return in
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
	if s.apart && s.rng.IntN(3) == 0 {
		s.drift()
		return
	}
	list := s.present()
	switch s.rng.IntN(12) {
	case 0, 1: // a process exits, and its agent tells
		if in := s.pick(list); in.alive {
			in.alive = false
			for _, px := range s.proxies {
				s.send(px, func() {
					if u := px.p.Upstream(in.spec.ID); u != nil {
						u.Observe(balancer.Evidence{From: balancer.FromAgent, Exited: true}, s.at(px))
					}
				})
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
	s.keyLine = append(s.keyLine, s.secrets(rotated(newest, s.now)))
	s.stats["rotation"]++
}

// secrets makes the newest key one that the seed leads to.
func (s *sim) secrets(keys []seal.Key) []seal.Key {
	for i := range keys[0].Secret {
		keys[0].Secret[i] = byte(s.rng.Uint32())
	}
	return keys
}

// spreadKeys lets proxies hear of new keys, by chance, and all of them before a key signs.
func (s *sim) spreadKeys() {
	newest := s.keyLine[len(s.keyLine)-1]
	late := s.now >= newest[0].From.Add(-keyLead/8).UnixMilli()-s.skew()/2
	for _, px := range s.proxies {
		if &px.keys[0] == &newest[0] || !late && s.rng.IntN(50) != 0 {
			continue
		}
		if late && px.offline {
			px.offline = false // for longer it would refuse what others seal
		}
		if px.offline {
			continue
		}
		px.keys = newest
		if err := px.b.SetKeys(px.keys, s.at(px)); err != nil {
			s.fail("keys: %v", err)
		}
		s.arrange(px)
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
