package proxy

import "time"

// KeepLongLived notes at now that the engine's streams are in use.
func (s *Server) KeepLongLived(now time.Time) { s.handler.LongLived.Keep(now, now.UnixMilli()) }

// PretendClockSet lets it look as if the system's clock had just been set by so much.
func (s *Server) PretendClockSet(by time.Duration) {
	s.clock.PretendSet(by)
}
