package balancer_test

import (
	"strconv"

	"portico/balancer"
)

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

func (s *sim) byID(id string) *simInstance {
	for _, in := range s.instances {
		if in.spec.ID == id {
			return in
		}
	}
	s.fail("unknown upstream %s", id)
	return nil
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
