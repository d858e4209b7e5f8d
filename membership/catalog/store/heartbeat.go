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

// Each proxy asks the others whether they answer, to notice a cut of the network and its end. Etcd's own streams notice the end late: they
// wait until TCP sends again, which after a cut of a minute takes another minute. They have no time limit for reads, and none can be set
// from here. So as soon as another proxy answers again, this one resets the connections that it had accepted from it before the cut, and
// etcd makes its streams anew: docs/decisions/after-a-cut.md.
const (
	heartbeatEvery  = time.Second            // of a proxy that answers
	heartbeatAgain  = 250 * time.Millisecond // of one that does not
	heartbeatDial   = 500 * time.Millisecond // to reach it
	heartbeatAnswer = time.Second            // for its answer
)

// heartbeats are a proxy's questions to the others.
type heartbeats struct {
	present Present
	logger  *slog.Logger
	wg      sync.WaitGroup

	mu   sync.Mutex
	each map[types.ID]*heartbeat // guarded by mu
}

// heartbeat is what is known of one other proxy. Its ask runs alone.
type heartbeat struct {
	name, addr string
	client     *http.Client
	next       time.Time // when it is asked again
	asking     bool
	cut        time.Time // when the first question began that got no answer; zero: it answers
}

// Heartbeat asks the other proxies now and then whether they answer, until ctx ends.
func Heartbeat(ctx context.Context, present Present, logger *slog.Logger) {
	h := &heartbeats{present: present, logger: logger, each: map[types.ID]*heartbeat{}}
	defer h.close()
	h.beat(ctx)
}

// beat asks the other proxies until ctx ends.
func (h *heartbeats) beat(ctx context.Context) {
	defer h.wg.Wait()
	wait := heartbeatAgain
	for pause.For(ctx, wait) == nil {
		wait = pause.Tick(heartbeatEvery) // who is alone asks nobody
		if s := h.present(); s != nil && s.Shared() {
			h.look(ctx, s, time.Now())
			wait = heartbeatAgain
		}
	}
}

// look asks those whose turn it is.
func (h *heartbeats) look(ctx context.Context, s *Store, now time.Time) {
	run := s.run.Load()
	server := run.etcd.Server
	there := map[types.ID]bool{}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range server.Cluster().Members() {
		there[m.ID] = true
		if m.ID == server.MemberID() || len(m.PeerURLs) == 0 {
			continue
		}
		one := h.oneLocked(s, m)
		if one == nil || one.asking || now.Before(one.next) {
			continue
		}
		one.asking = true
		h.wg.Go(func() { h.ask(ctx, run, one) })
	}
	for id, one := range h.each {
		if !there[id] {
			one.client.CloseIdleConnections()
			delete(h.each, id)
		}
	}
}

// oneLocked returns what is known of a proxy; nil where that is not enough to ask it.
func (h *heartbeats) oneLocked(s *Store, m *membership.Member) *heartbeat {
	name, addr := s.replicaName(m.Name, m.PeerURLs), hostOf(m.PeerURLs[0])
	one := h.each[m.ID]
	if one != nil && one.name == name && one.addr == addr {
		return one
	}
	if name == "" {
		return nil
	}
	one = &heartbeat{name: name, addr: addr, client: &http.Client{
		Timeout: heartbeatDial + heartbeatAnswer, CheckRedirect: noRedirect,
		Transport: &http.Transport{
			TLSClientConfig: s.o.Peers.ClientTLS(name, s.admit), TLSHandshakeTimeout: heartbeatAnswer, MaxIdleConnsPerHost: 1,
			ResponseHeaderTimeout: heartbeatAnswer, DialContext: (&net.Dialer{Timeout: heartbeatDial}).DialContext,
		},
	}}
	h.each[m.ID] = one
	return one
}

// ask asks one proxy, and resets what is left of before a cut that is over.
func (h *heartbeats) ask(ctx context.Context, run *running, one *heartbeat) {
	began := time.Now()
	_, err := stateAt(ctx, one.client, one.addr)
	h.mu.Lock()
	defer h.mu.Unlock()
	one.asking = false
	switch {
	case err != nil:
		one.client.CloseIdleConnections()
		if one.cut.IsZero() {
			one.cut = began
		}
		one.next = time.Now().Add(heartbeatAgain)
		return
	case !one.cut.IsZero():
		n := run.peers.Reset(one.name, one.cut)
		h.logger.Debug("a proxy answers again", "member", one.name, "after", time.Since(one.cut).Round(time.Millisecond).String(), "connections_reset", n)
		one.cut = time.Time{}
	}
	one.next = time.Now().Add(heartbeatEvery)
}

// close gives the idle connections back, once beat has ended.
func (h *heartbeats) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range h.each {
		one.client.CloseIdleConnections()
	}
}
