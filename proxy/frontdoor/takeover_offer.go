package frontdoor

import (
	"errors"
	"sync"

	"portico/internal/takeover"
)

// offers are a proxy's open ear for a process that wants to take over. Nil and the
// zero value hear nothing.
type offers struct {
	offer *takeover.Offer
	heirs chan *takeover.Heir
	done  chan struct{}
	wg    sync.WaitGroup
}

// invite begins to listen for a successor. Where that cannot be, the next process
// waits until this one has ended.
func (p *Proxy) invite() {
	if p.offers == nil {
		return // this kind of process cannot be taken over
	}
	offer, err := takeover.Listen(p.path(takeoverSocket), p.who())
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		p.log.Info("take-overs by a new process do not exist on this system: a restart refuses connections for a moment")
		return
	case err != nil:
		p.log.Warn("no process can take over from this one: a restart refuses connections for a moment", "error", err)
		return
	}
	o := &offers{offer: offer, heirs: make(chan *takeover.Heir), done: make(chan struct{})}
	o.wg.Go(func() { o.listen(func(err error) { p.log.Warn("take-over refused", "error", err) }) })
	p.offers = o
}

func (o *offers) listen(refused func(error)) {
	for {
		h, err := o.offer.Accept(refused)
		if err != nil {
			return
		}
		select {
		case o.heirs <- h:
		case <-o.done:
			h.Close()
			return
		}
	}
}

// next is where those come who want to take over.
func (o *offers) next() <-chan *takeover.Heir {
	if o == nil {
		return nil
	}
	return o.heirs
}

// close ends the offer; the socket in the folder is the successor's.
func (o *offers) close() {
	if o == nil || o.offer == nil {
		return
	}
	close(o.done)
	_ = o.offer.Close()
	o.wg.Wait()
	o.offer = nil
}

// withdraw ends the offer of a proxy that stops without a successor.
func (p *Proxy) withdraw() {
	if p.offers != nil && p.offers.offer != nil {
		p.offers.offer.Withdraw()
		p.offers.close()
	}
}
