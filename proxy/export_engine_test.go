package proxy

import (
	"portico/proxy/exchange"
	"portico/proxy/listen"
)

// EngineHandler is what the drivers ask about requests, for tests that move the bytes themselves.
func (s *Server) EngineHandler() exchange.Handler {
	s.handler.Fronts, s.handler.Ports = []*listen.Traffic{&s.plain}, []string{"80"}
	return s.handler
}
