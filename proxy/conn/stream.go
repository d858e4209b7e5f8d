package conn

import (
	"portico/proxy/exchange"
	"portico/proxy/wire"
)

// stream moves both directions at once, each in a goroutine of its own, until the exchange is over or the next request begins. It
// returns what ends the exchange, or OpWait when one goroutine is enough again.
func (s *session) stream(first exchange.Op) exchange.Op {
	s.final, s.ended, s.both = exchange.OpWait, false, true
	if s.u != nil {
		s.u.io.shared = true
	}
	s.halves.Add(1)
	go s.downFn()
	if first == exchange.OpReadUpstream {
		first = exchange.OpWait
	}
	s.pump(upward, first)
	s.halves.Wait()
	s.x.Settled()
	s.both = false
	if s.u != nil {
		s.u.io.shared = false
	}
	s.now()
	s.c.io.resume() // its end may have been used to wake a goroutine
	if s.u != nil {
		s.u.io.resume()
	}
	if s.c.srv.ctx.Err() != nil && s.final == exchange.OpWait { // so may another
		s.x.Abandon()
	}
	return s.final
}

// down is the goroutine of the answer's direction.
func (s *session) down() {
	defer s.halves.Done()
	s.pump(downward, exchange.OpWait)
}

// pump performs the operations of one direction, and those that belong to none.
func (s *session) pump(mine exchange.Ready, op exchange.Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.ended {
		if op == exchange.OpWait {
			s.x.Only(mine)
			op = s.x.Next()
		}
		if s.x.Over() && (op == exchange.OpWait || op == exchange.OpReadClient) {
			s.end(exchange.OpWait) // the next request, or a linger: one goroutine does
			return
		}
		switch op {
		case exchange.OpReadClient:
			s.readIn(exchange.Client)
		case exchange.OpReadUpstream:
			s.readIn(exchange.Up)
		case exchange.OpWriteClient:
			s.writeOut(exchange.Client)
		case exchange.OpWriteUpstream:
			s.writeOut(exchange.Up)
		case exchange.OpWait:
			if !s.told() {
				s.turn.Wait()
			}
			continue
		case exchange.OpIdle, exchange.OpClose, exchange.OpAbort:
			s.end(op)
			return
		default:
			s.control(op)
		}
		op = exchange.OpWait
		s.turn.Broadcast()
	}
}

// end stops both goroutines.
func (s *session) end(op exchange.Op) {
	s.final, s.ended = op, true
	s.c.io.halt()
	if s.u != nil {
		s.u.io.halt()
	}
	s.turn.Broadcast()
}

// readIn reads without the lock.
func (s *session) readIn(side exchange.Side) {
	k := s.side(side)
	if k == nil {
		s.x.Read(side, 0, wire.Failed)
		return
	}
	b := s.x.Space(side)
	s.deadline(k, false)
	s.mu.Unlock()
	s.tell()
	n, res := k.read(b)
	s.mu.Lock()
	if s.ended {
		if n > 0 || res == wire.EOF {
			s.now()
			s.came(side, n, res)
		}
		return
	}
	if k.timedOut {
		k.again()
	}
	// An answer may overtake the report of the write that caused it; it is not an early one for that.
	for side == exchange.Up && n > 0 && s.writing && s.x.LastWrite() && !s.ended {
		s.turn.Wait()
	}
	s.now()
	s.came(side, n, res)
	s.late(res)
}

func (s *session) came(side exchange.Side, n int, res wire.Result) {
	if side == exchange.Client {
		s.body(n, res)
		return
	}
	s.heardEnd(res)
	s.x.Read(side, n, res)
}

// tell sends what a client that is a stream was written, before something that may take time.
func (s *session) tell() {
	if l := s.c.io.lane; l != nil {
		l.flush()
	}
}

// told is tell with the lock held, and reports whether it was given up meanwhile.
func (s *session) told() bool {
	l := s.c.io.lane
	if l == nil || !l.dirty.Load() {
		return false
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	l.flush()
	return true
}

// writeOut writes without the lock.
func (s *session) writeOut(side exchange.Side) {
	k := s.side(side)
	if k == nil {
		s.x.Wrote(side, 0, wire.Failed)
		return
	}
	a, b := s.x.Pending(side)
	s.deadline(k, true)
	s.writing = s.writing || side == exchange.Up
	if side == exchange.Client {
		k.ends = s.x.Ends(exchange.Client)
	} else {
		s.ending(k)
	}
	s.mu.Unlock()
	if side == exchange.Up {
		s.tell()
	}
	n, res := k.write(a, b)
	s.mu.Lock()
	s.writing = s.writing && side != exchange.Up
	s.now()
	if side == exchange.Client {
		s.wrote(n, res)
	} else {
		s.x.Wrote(side, n, res)
	}
	if !s.ended {
		s.late(res)
	}
}

func (s *session) side(side exchange.Side) *sock {
	if side == exchange.Client {
		return &s.c.io
	}
	if s.u == nil {
		return nil
	}
	return &s.u.io
}
