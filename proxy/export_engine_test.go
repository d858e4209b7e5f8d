package proxy

import "portico/proxy/exchange"

// EngineHandler is what the drivers ask about requests, for tests that move the bytes themselves.
func (s *Server) EngineHandler() exchange.Handler {
	return &engine{s: s, fronts: []*frontend{&s.plain}, ports: []string{"80"}}
}
