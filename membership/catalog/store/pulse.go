package store

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"

	"portico/internal/pause"
)

// What a proxy asks the others now and then, to know when the network between them was cut
// and when it is whole again. Etcd's own streams would wait for TCP to send again, which after a minute
// takes another one: their reading sides have no limit, and sockets of etcd cannot be given one from here.
// So each proxy resets what it had accepted before the cut as soon as the other one answers again, and the
// streams are made anew a moment later: docs/decisions/after-a-cut.md.
const (
	pulseEvery  = time.Second            // of a proxy that answers
	pulseAgain  = 250 * time.Millisecond // of one that does not
	pulseDial   = 500 * time.Millisecond // to reach it
	pulseAnswer = time.Second            // for its answer
)

// pulses are a proxy's questions to the others.
type pulses struct {
	present Present
	logger  *slog.Logger
	wg      sync.WaitGroup

	mu   sync.Mutex
	each map[types.ID]*pulse // guarded by mu
}

// pulse is what is known of one other proxy. Its ask runs alone.
type pulse struct {
	name, addr string
	client     *http.Client
	next       time.Time // when it is asked again
	asking     bool
	cut        time.Time // when the first question began that got no answer; zero: it answers
}

// Pulse asks the other proxies now and then whether they answer, until ctx ends.
func Pulse(ctx context.Context, present Present, logger *slog.Logger) {
	p := &pulses{present: present, logger: logger, each: map[types.ID]*pulse{}}
	defer p.close()
	p.beat(ctx)
}

// beat asks the other proxies until ctx ends.
func (p *pulses) beat(ctx context.Context) {
	defer p.wg.Wait()
	wait := pulseAgain
	for pause.For(ctx, wait) == nil {
		wait = pause.Tick(pulseEvery) // who is alone asks nobody
		if s := p.present(); s != nil && s.Shared() {
			p.look(ctx, s, time.Now())
			wait = pulseAgain
		}
	}
}

// look asks those whose turn it is.
func (p *pulses) look(ctx context.Context, s *Store, now time.Time) {
	run := s.run.Load()
	server := run.etcd.Server
	there := map[types.ID]bool{}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range server.Cluster().Members() {
		there[m.ID] = true
		if m.ID == server.MemberID() || len(m.PeerURLs) == 0 {
			continue
		}
		one := p.oneLocked(s, m)
		if one == nil || one.asking || now.Before(one.next) {
			continue
		}
		one.asking = true
		p.wg.Go(func() { p.ask(ctx, run, one) })
	}
	for id, one := range p.each {
		if !there[id] {
			one.client.CloseIdleConnections()
			delete(p.each, id)
		}
	}
}

// oneLocked returns what is known of a proxy; nil where that is not enough to ask it.
func (p *pulses) oneLocked(s *Store, m *membership.Member) *pulse {
	name, addr := s.replicaName(m.Name, m.PeerURLs), hostOf(m.PeerURLs[0])
	one := p.each[m.ID]
	if one != nil && one.name == name && one.addr == addr {
		return one
	}
	if name == "" {
		return nil
	}
	one = &pulse{name: name, addr: addr, client: &http.Client{
		Timeout: pulseDial + pulseAnswer, CheckRedirect: noRedirect,
		Transport: &http.Transport{
			TLSClientConfig: s.o.Peers.ClientTLS(name, s.admit), TLSHandshakeTimeout: pulseAnswer, MaxIdleConnsPerHost: 1,
			ResponseHeaderTimeout: pulseAnswer, DialContext: (&net.Dialer{Timeout: pulseDial}).DialContext,
		},
	}}
	p.each[m.ID] = one
	return one
}

// ask asks one proxy, and resets what is left of before a cut that is over.
func (p *pulses) ask(ctx context.Context, run *running, one *pulse) {
	began := time.Now()
	_, err := stateAt(ctx, one.client, one.addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	one.asking = false
	switch {
	case err != nil:
		one.client.CloseIdleConnections()
		if one.cut.IsZero() {
			one.cut = began
		}
		one.next = time.Now().Add(pulseAgain)
		return
	case !one.cut.IsZero():
		n := run.peers.Reset(one.name, one.cut)
		p.logger.Debug("a proxy answers again", "member", one.name, "after", time.Since(one.cut).Round(time.Millisecond).String(), "connections_reset", n)
		one.cut = time.Time{}
	}
	one.next = time.Now().Add(pulseEvery)
}

// close gives the idle connections back, once beat has ended.
func (p *pulses) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.each {
		one.client.CloseIdleConnections()
	}
}
