package conn

import (
	"crypto/tls"
	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"slices"
	"time"
)

// waitMost is how many requests wait for one connection that is being made. More than that are not expected to find room on it.
const waitMost = 100

// line is a connection to an upstream that speaks HTTP/2: requests of many clients share it, each has a stream, with a lane. One goroutine
// makes it and reads it, as that of a client's connection does.
type line struct {
	mux
	up      *exchange.Upstream
	alone   bool // it is for one request and no other
	waiting int  // guarded by pools.mu: those that wait until it is made

	made   chan struct{} // closed when the origin has said that it speaks HTTP/2, or failed
	told   bool          // made is closed; guarded by mu
	failed account.Cause // why it could not be made; read behind made
}

// newLine begins to make a connection. The lock of the pools is held.
func (p *pools) newLine(up *exchange.Upstream, alone bool, timeout time.Duration) *line {
	ln := &line{up: up, alone: alone, made: make(chan struct{})}
	ln.line, ln.c = ln, &client{srv: p.srv}
	ln.turn.L = &ln.mu
	ln.sendFn = ln.sendOn
	p.lines[up] = append(p.lines[up], ln)
	p.wg.Go(func() { ln.serve(p.srv, timeout) })
	return ln
}

func (ln *line) serve(srv *server, timeout time.Duration) {
	u, why := srv.dial(srv.ctx, ln.up, timeout, nil, nil)
	if u == nil {
		srv.pools.cross(ln)
		ln.mu.Lock()
		ln.tell(why)
		ln.mu.Unlock()
		return
	}
	ln.mu.Lock()
	ln.c.base, ln.c.conn = rawConn(u.conn), u.conn
	ln.carry(u)
	ln.h2.Dial(&srv.h2conf, &srv.mem, ln.up.IdleTime(), srv.clock())
	if srv.ctx.Err() != nil {
		ln.over = true
	}
	ln.read()
	ln.tell(account.CauseConnect)
	ln.mu.Unlock()
	srv.pools.cross(ln)
	u.close()
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for ln.count > 0 || ln.sending { // answers that have come whole are still read
		ln.turn.Wait()
	}
	ln.h2.Release()
}

// carry prepares for reading and writing, which a connection without TLS does as one with it.
func (ln *line) carry(u *upstream) {
	k := &ln.c.io
	k.start = u.srv.start
	if _, ok := u.conn.(*tls.Conn); ok {
		k.init(u.conn, false, u.srv.start)
		return
	}
	k.steady = makeSteady(u.conn, u.conn, &k.halted, u.srv.opt.Timeouts.Response)
	k.conn = k.steady
}

// tell lets those go on that wait until the connection is made.
func (ln *line) tell(why account.Cause) {
	if !ln.told {
		ln.told, ln.failed = true, why
		close(ln.made)
	}
}

// greeted looks whether the origin has said that it speaks HTTP/2.
func (ln *line) greeted() {
	if ln.h2.Greeted() && !ln.h2.Over() {
		ln.tell(account.CauseNone)
	}
}

// leave lets the requests that are on the connection be its last; with idle, only where there is none.
func (ln *line) leave(idle bool) {
	ln.lock()
	defer ln.mu.Unlock()
	if ln.c.base == nil || idle && ln.count > 0 {
		return
	}
	ln.h2.Leave()
	ln.settle()
	ln.kick()
}

// cut ends the connection, because the driver stops.
func (ln *line) cut() {
	ln.lock()
	defer ln.mu.Unlock()
	if ln.c.base != nil {
		_ = ln.c.base.Close()
	}
}

// cross takes a connection off the list.
func (p *pools) cross(ln *line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := slices.DeleteFunc(p.lines[ln.up], func(o *line) bool { return o == ln })
	if len(list) == 0 {
		delete(p.lines, ln.up)
		return
	}
	p.lines[ln.up] = list
}

// sweepLines lets connections be left whose upstream is, and those without a request when descriptors are short.
func (p *pools) sweepLines(all bool) {
	p.mu.Lock()
	var left, idle []*line
	for up, list := range p.lines {
		switch {
		case up.Retired():
			left = append(left, list...)
		case all:
			idle = append(idle, list...)
		}
	}
	p.mu.Unlock()
	for _, ln := range left {
		ln.leave(false)
	}
	for _, ln := range idle {
		ln.leave(true)
	}
}

// cutLines ends all connections and waits for them.
func (p *pools) cutLines() {
	p.mu.Lock()
	var all []*line
	for _, list := range p.lines {
		all = append(all, list...)
	}
	p.mu.Unlock()
	for _, ln := range all {
		ln.cut()
	}
	p.wg.Wait()
}
