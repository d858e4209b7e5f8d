package proxy

import "portico/proxy/http1"

// EngineHandler is what the drivers ask about requests, for tests that move the bytes themselves.
func (s *Server) EngineHandler() http1.Handler {
	return &engine{s: s, fronts: []*frontend{&s.plain}, ports: []string{"80"}}
}
