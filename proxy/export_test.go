package proxy

import "time"

// CheckProfile reports whether a profile compiles.
func CheckProfile(text string) error {
	_, err := parseProfile(text)
	return err
}

// ProfileCount is how many products are known.
func ProfileCount() int { return len(profiles) }

// KeepLasting notes at now that the engine's streams are in use.
func (s *Server) KeepLasting(now time.Time) { s.lasting.keep(now, now.UnixMilli()) }

// PretendClockSet lets it look as if the system's clock had just been set by so much.
func (s *Server) PretendClockSet(by time.Duration) {
	r := *s.clocks.last.Load()
	r.wall -= by.Milliseconds()
	s.clocks.last.Store(&r)
}
