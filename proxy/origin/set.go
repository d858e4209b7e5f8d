package origin

import (
	"crypto/tls"
	"sync"
	"time"

	"portico/balancer"
	"portico/membership/catalog"
	"portico/proxy/exchange"
)

// Set is the origins of all instances that are served, and what is left of former ones. Its fields do not
// change once it is in use.
type Set struct {
	Connect time.Duration
	MaxIdle int

	// AgentTLS returns the client configuration for connections to a member's
	// agent. Nil: agents cannot be reached.
	AgentTLS func(member string) *tls.Config

	byID     sync.Map // instance id to *Origin
	byMember byMember
}

// Lead makes the origin of an instance, or leaves it as it is when it leads there already. An instance of a member is reached over TLS;
// key is that member's fingerprint. It does nothing where the member's agent cannot be reached.
func (s *Set) Lead(spec *balancer.Spec, key string, idle time.Duration) {
	a := s.address(spec)
	a.Key, a.IdleTime = key, idle
	if spec.Member != "" {
		if a.TLS = s.agentTLS(spec); a.TLS == nil {
			return
		}
	}
	if o := s.Get(spec.ID); o != nil {
		if o.Same(a) {
			return
		}
		o.Close()
	}
	s.byID.Store(spec.ID, s.make(a))
}

// agentTLS names the instance behind its member's agent; nil: the agent cannot be reached.
func (s *Set) agentTLS(spec *balancer.Spec) *tls.Config {
	if s.AgentTLS == nil {
		return nil
	}
	c := s.AgentTLS(spec.Member)
	if c == nil {
		return nil
	}
	c = c.Clone()
	c.ServerName = spec.ID + ".instance"
	return c
}

func (s *Set) address(spec *balancer.Spec) Address {
	return Address{Addr: spec.Addr, Member: spec.Member, HTTP2: spec.HTTP2, Connect: s.Connect, MaxIdle: s.MaxIdle}
}

func (s *Set) make(a Address) *Origin {
	o := New(a)
	s.byMember.add(o)
	return o
}

// Get returns the origin of an instance, or nil.
func (s *Set) Get(id string) *Origin {
	if v, ok := s.byID.Load(id); ok {
		return v.(*Origin)
	}
	return nil
}

// For returns the origin of an upstream. One that left the pool in this
// moment gets an origin of its own, without kept connections.
func (s *Set) For(u *balancer.Upstream) *Origin {
	if o := s.Get(u.ID()); o != nil {
		return o
	}
	spec := u.Spec()
	a := s.address(spec)
	if spec.Member != "" {
		if a.TLS = s.agentTLS(spec); a.TLS == nil {
			a.Addr = "127.0.0.1:0" // never plain to a member: refused at once
		}
	}
	o := s.make(a)
	o.Close()
	return o
}

// Near finds the first upstream to which one of own leads.
func (s *Set) Near(upstreams []*balancer.Upstream, own []*exchange.Upstream) *balancer.Upstream {
	for _, u := range upstreams {
		if o := s.Get(u.ID()); o != nil && o.Among(own) {
			return u
		}
	}
	return nil
}

// Retire lets go of the origin of an instance that is not served any more.
func (s *Set) Retire(id string) {
	if v, ok := s.byID.LoadAndDelete(id); ok {
		v.(*Origin).Close()
	}
}

// Close lets go of all origins.
func (s *Set) Close() {
	s.byID.Range(func(_, v any) bool {
		v.(*Origin).Close()
		return true
	})
}

// KillUntrusted kills the origins on machines that the cluster does not trust any more.
func (s *Set) KillUntrusted(members map[string]*catalog.Member) { s.byMember.killUntrusted(members) }

// Kill cuts everything that leads to a member.
func (s *Set) Kill(member string) { s.byMember.kill(member) }

// Leave tells all origins of a member whether its agent goes for a moment. It reports whether
// that is news to any.
func (s *Set) Leave(member string, leaving bool) (news bool) {
	return s.byMember.leave(member, leaving)
}
