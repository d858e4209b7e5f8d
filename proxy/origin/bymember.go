package origin

import (
	"slices"
	"sync"
	"weak"

	"portico/membership/catalog"
)

// byMember finds the origins of a member's instances. The set lets go of an origin when its
// instance is retired, but requests and tunnels there go on, for hours perhaps. When the
// member is revoked, they are found here. An entry lasts as long as anything uses its
// origin; the garbage collector knows that best.
type byMember struct {
	mu  sync.Mutex
	all map[string][]weak.Pointer[Origin] // guarded by mu, by member
}

// add notes an origin, and forgets those that nothing uses any more.
func (b *byMember) add(o *Origin) {
	if o.Member == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = map[string][]weak.Pointer[Origin]{}
	}
	list := slices.DeleteFunc(b.all[o.Member], func(p weak.Pointer[Origin]) bool { return p.Value() == nil })
	b.all[o.Member] = append(list, weak.Make(o))
}

// killUntrusted kills the origins on machines that the cluster does not trust any more: the
// member is not accepted, or another machine has its name.
func (b *byMember) killUntrusted(members map[string]*catalog.Member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, list := range b.all {
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
			delete(b.all, name)
		} else {
			b.all[name] = list
		}
	}
}

// kill cuts everything that leads to a member.
func (b *byMember) kill(member string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.all[member] {
		if o := p.Value(); o != nil {
			o.kill()
		}
	}
}

// leave tells all origins of a member whether its agent goes for a moment. It reports whether
// that is news to any.
func (b *byMember) leave(member string, leaving bool) (news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.all[member] {
		if o := p.Value(); o != nil && o.leave(leaving) {
			news = true
		}
	}
	return news
}
