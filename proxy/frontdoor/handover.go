package frontdoor

import (
	"context"
	"os"

	"portico/internal/takeover"
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
	p.stopWork()
	p.forgetWork()
	if err := p.saveSessions(); err != nil {
		p.log.Warn("sessions not handed over: the new process counts them anew", "error", err)
	}
	return p.catalog.Suspend()
}

// reopenCatalog opens again what releaseCatalog closed. It can be tried again.
func (p *Proxy) reopenCatalog(ctx context.Context) error {
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
