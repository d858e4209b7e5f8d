package frontdoor

import (
	"context"
	"errors"
	"os"
	"time"

	"portico/internal/statedir"
)

// goodbye bounds how long the gossip is left: it takes about half a second.
const goodbye = 2 * time.Second

// stop lets running requests finish and ends everything. err is why, nil where somebody has said so.
func (p *Proxy) stop(ctx context.Context, err error) error {
	defer statedir.AnnounceEnd(p.conf.Dir, p.log)()
	if p.predecessor != nil {
		_ = p.predecessor.End() // what is left of the process before goes with this one; it has ended as a rule
	}
	p.successors.Withdraw()
	p.log.Info("stopping: running requests may finish, a second Ctrl-C cuts them", "limit", p.conf.Proxy.Timeouts.Drain.String())
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.conf.Proxy.Timeouts.Drain.Std())
	defer cancel()
	defer onPress(p.options.Interrupts, func() { p.log.Warn("Ctrl-C was pressed again: requests that still run are cut"); cancel() })()
	err = errors.Join(err, p.web.Shutdown(end))
	if err := p.saveSessions(); err != nil {
		p.log.Warn("sessions not saved: the next start counts them anew", "error", err)
	}
	if p.gossip != nil {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye) // also when the drain took all its time
		defer cancel()
		_ = p.gossip.Leave(bye)
	}
	p.Close()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		p.log.Warn("requests were cut at the end of the drain time", "setting", "proxy.timeouts.drain")
		err = nil
	case errors.Is(err, context.Canceled): // Ctrl-C again
		err = nil
	}
	return err
}

// Close ends what is open, in the opposite order of its start. It may be called twice, and after Run it has nothing to do.
func (p *Proxy) Close() {
	p.once.Do(func() {
		p.stopWork()
		if p.web != nil {
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			_ = p.web.Shutdown(ended)
		}
		if p.alone != nil {
			p.alone()
		}
		p.wg.Wait()
		if p.access != nil {
			_ = p.access.Close()
		}
		if p.certs != nil {
			p.certs.Close()
		}
		if p.catalog != nil {
			_ = p.catalog.Close()
		}
		p.sockets.Close()
	})
}

// onPress calls f when Ctrl-C is pressed from now on. The press that made this process stop
// is not one of them: it comes by this way too, at the same moment.
func onPress(presses <-chan os.Signal, f func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-presses:
		case <-time.After(100 * time.Millisecond):
		}
		select {
		case <-presses:
			f()
		case <-done:
		}
	}()
	return func() { close(done); <-ended }
}
