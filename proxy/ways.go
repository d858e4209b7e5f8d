package proxy

import (
	"slices"
	"sync"
	"weak"

	"portico/membership/catalog"
)

// ways are the ways to the instances of members. The table lets go of one when its
// instance is retired, but the requests and tunnels on it go on, for hours perhaps:
// when the member is revoked, they are found here. An entry lasts as long as anything
// uses its way, which the garbage collector knows best.
type ways struct {
	mu  sync.Mutex
	all map[string][]weak.Pointer[origin] // guarded by mu, by member
}

// add notes a way. Those that nothing uses any more are forgotten meanwhile.
func (w *ways) add(o *origin) {
	if o.member == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[string][]weak.Pointer[origin]{}
	}
	list := slices.DeleteFunc(w.all[o.member], func(p weak.Pointer[origin]) bool { return p.Value() == nil })
	w.all[o.member] = append(list, weak.Make(o))
}

// judge kills the ways to machines that the cluster does not trust any more: their
// members are not accepted, or another machine bears the name.
func (w *ways) judge(members map[string]*catalog.Member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, list := range w.all {
		m := members[name]
		list = slices.DeleteFunc(list, func(p weak.Pointer[origin]) bool {
			o := p.Value()
			if o == nil {
				return true
			}
			if m != nil && m.Admission == catalog.Accepted && (o.key == "" || o.key == m.Fingerprint) {
				return false
			}
			o.kill()
			return true
		})
		if len(list) == 0 {
			delete(w.all, name)
		} else {
			w.all[name] = list
		}
	}
}

// Distrust cuts everything that leads to a member at once, for a server that gets no views any more.
func (s *Server) Distrust(member string) {
	s.ways.mu.Lock()
	defer s.ways.mu.Unlock()
	for _, p := range s.ways.all[member] {
		if o := p.Value(); o != nil {
			o.kill()
		}
	}
}

// leave tells all ways to a member whether its agent goes for a moment. It reports whether
// that is news to any.
func (w *ways) leave(member string, leaving bool) (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.all[member] {
		if o := p.Value(); o != nil && o.leave(leaving) {
			news = true
		}
	}
	return news
}

// MemberLeaves says that a member's agent is about to be away for a moment while its
// instances live, or, with false, that it is there. No connection is kept to one that leaves; one
// that is back is checked at once. Saying the same again costs next to nothing.
func (s *Server) MemberLeaves(member string, leaving bool) {
	if s.ways.leave(member, leaving) && !leaving {
		s.CheckNow(member)
	}
}
