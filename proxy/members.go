package proxy

// What others tell of members.

// CheckNow has all instances of a member checked at once: the cluster's failure
// detector says that something happened there. It is a hint and changes no state
// by itself.
func (s *Server) CheckNow(member string) { s.probes.Member(member) }

// Distrust cuts everything that leads to a member at once, for a server that gets no views any more.
func (s *Server) Distrust(member string) { s.origins.Kill(member) }

// MemberLeaves says that a member's agent is about to be away for a moment while its
// instances live, or, with false, that it is there. No connection is kept to one that leaves; one
// that is back is checked at once. Saying the same again costs next to nothing.
func (s *Server) MemberLeaves(member string, leaving bool) {
	if s.origins.Leave(member, leaving) && !leaving {
		s.CheckNow(member)
	}
}
