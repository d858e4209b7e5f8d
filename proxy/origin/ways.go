package origin

import (
	"slices"
	"sync"
	"weak"

	"portico/membership/catalog"
)

// Ways are the ways to the instances of members. The table lets go of one when its
// instance is retired, but the requests and tunnels on it go on, for hours perhaps:
// when the member is revoked, they are found here. An entry lasts as long as anything
// uses its way, which the garbage collector knows best.
type Ways struct {
	mu  sync.Mutex
	all map[string][]weak.Pointer[Origin] // guarded by mu, by member
}

// Add notes a way. Those that nothing uses any more are forgotten meanwhile.
func (w *Ways) Add(o *Origin) {
	if o.Member == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[string][]weak.Pointer[Origin]{}
	}
	list := slices.DeleteFunc(w.all[o.Member], func(p weak.Pointer[Origin]) bool { return p.Value() == nil })
	w.all[o.Member] = append(list, weak.Make(o))
}

// Judge kills the ways to machines that the cluster does not trust any more: their
// members are not accepted, or another machine bears the name.
func (w *Ways) Judge(members map[string]*catalog.Member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, list := range w.all {
		m := members[name]
		list = slices.DeleteFunc(list, func(p weak.Pointer[Origin]) bool {
			o := p.Value()
			if o == nil {
				return true
			}
			if m != nil && m.Admission == catalog.Accepted && (o.Key == "" || o.Key == m.Fingerprint) {
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

// Kill cuts everything that leads to a member.
func (w *Ways) Kill(member string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.all[member] {
		if o := p.Value(); o != nil {
			o.kill()
		}
	}
}

// Leave tells all ways to a member whether its agent goes for a moment. It reports whether
// that is news to any.
func (w *Ways) Leave(member string, leaving bool) (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.all[member] {
		if o := p.Value(); o != nil && o.leave(leaving) {
			news = true
		}
	}
	return news
}
