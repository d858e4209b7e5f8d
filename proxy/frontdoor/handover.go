package frontdoor

import (
	"context"
	"errors"
	"os"

	"portico/internal/takeover"
	"portico/proxy/frontdoor/succession"
)

// handOver gives the place to another process. It reports whether that has it; if
// not, this one has closed its catalog all the same, see reopenCatalog.
func (p *Proxy) handOver(ctx context.Context, s *takeover.Successor) bool {
	log := p.log.With("pid", s.PID, "version", s.Who.Version)
	log.Info("a new process takes over: the catalog, the admin listener and the gossip go to it, the traffic goes on here until it is ready")
	err := p.releaseCatalog()
	if err == nil {
		err = s.Give(p.who(), &p.sockets)
	}
	if err == nil {
		err = s.Ready(context.WithoutCancel(ctx)) // also when this one is told to stop now: somebody must have the place
	}
	if err == nil {
		err = s.Go()
	}
	if err == nil {
		return true
	}
	s.Revoke()
	s.Close()
	log.Error("the new process has not taken over: this one goes on", "error", err)
	return false
}

// releaseCatalog closes what only one process may have open: the catalog, and all that works with it.
func (p *Proxy) releaseCatalog() error {
	return release{
		fault: p.catalog.Err, suspend: p.catalog.Suspend,
		stop: func() { p.stopWork(); p.forgetWork() },
		save: func() {
			if err := p.saveSessions(); err != nil {
				p.log.Warn("sessions not handed over: the new process counts them anew", "error", err)
			}
		},
	}.do()
}

// release is what ends before another process can have the catalog.
type release struct {
	fault   func() error // that the catalog met
	suspend func() error // closes the catalog; it may be called twice
	stop    func()       // all that works with it
	save    func()       // what the sessions are by then
}

// do ends it in this order. A catalog that met a fault comes first: it may not close, and then nothing else ends.
func (r release) do() error {
	if r.fault() != nil {
		if err := r.suspend(); err != nil {
			return err
		}
	}
	r.stop()
	r.save()
	return r.suspend()
}

// reopenCatalog opens again what releaseCatalog closed. It can be tried again.
func (p *Proxy) reopenCatalog(ctx context.Context) error {
	if p.working != nil {
		return nil // nothing was released
	}
	if err := p.catalog.Resume(ctx); err != nil {
		return err
	}
	_ = os.Remove(p.path(sessionsFile)) // of no use to a later start: they go on changing here
	if err := p.openWork(ctx); err != nil {
		p.stopWork()
		p.forgetWork()
		return err
	}
	p.startWork(ctx)
	p.log.Info("everything is taken back", "admin", p.listener.Addr().String())
	return nil
}

// invite begins to listen for a successor. Where that cannot be, the next process
// waits until this one has ended.
func (p *Proxy) invite() {
	if p.successors == nil {
		return // this kind of process cannot be taken over
	}
	s, err := succession.Listen(p.path(takeoverSocket), p.who(), func(err error) { p.log.Warn("take-over refused", "error", err) })
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		p.log.Info("take-overs by a new process do not exist on this system: a restart refuses connections for a moment")
		return
	case err != nil:
		p.log.Warn("no process can take over from this one: a restart refuses connections for a moment", "error", err)
		return
	}
	p.successors = s
}

// StartSuccessor starts a program that asks this proxy for its place.
func (p *Proxy) StartSuccessor(program string) { p.child.Start(program, p.log) }
