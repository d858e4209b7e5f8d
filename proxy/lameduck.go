package proxy

import (
	"context"
	"time"
)

// LameDuck takes leave of the clients of a server whose listening sockets another
// process has as well: it accepts no more, and each answer is the last one of its
// connection, which its client is told. Nothing is closed that waits for its next
// request, since that may be on its way. It returns when no connection is left, or
// when ctx ends; Shutdown must follow. Serve must have been called.
func (s *Server) LameDuck(ctx context.Context) {
	s.handler.LameDuck.Store(true)
	s.engine.driver.StopAccepting()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for s.clients() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// clients is how many connections of visitors are open.
func (s *Server) clients() int64 { return s.engine.driver.Stats().Clients }

// Unchecked returns how many instances this server is going to check and has not
// checked yet: they take no new visitors. Whoever takes traffic over waits for 0.
func (s *Server) Unchecked() int {
	return s.probes.Unchecked()
}
