package store

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"slices"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"

	"portico/membership/catalog/store/peers"
)

// maxLearners is how many proxies may have a copy and no vote.
const maxLearners = 8

// peerURL is how etcd names the proxy that listens at addr.
func peerURL(addr string) *url.URL { return &url.URL{Scheme: "https", Host: addr} }

// shareConfig sets what differs for proxies that share a catalog. The server does
// not listen itself, see peerServer.
func shareConfig(cfg *embed.Config, p *peers.Options) {
	cfg.TickMs = uint(sharedTick.Milliseconds())
	cfg.ElectionMs = uint(sharedElection.Milliseconds())
	cfg.MaxLearners = maxLearners
	cfg.PreVote = true
	cfg.PeerTLSInfo = transport.TLSInfo{CertFile: p.Cert, KeyFile: p.Key, TrustedCAFile: p.CA, MinVersion: tls.VersionTLS13}
	self := peerURL(p.Advertise)
	cfg.AdvertisePeerUrls = []url.URL{*self}
	cfg.InitialCluster = cfg.Name + "=" + self.String()
	if p.Join == nil {
		return
	}
	cfg.ClusterState = embed.ClusterStateFlagExisting
	for i, u := range p.Join.Members {
		if u != self.String() {
			cfg.InitialCluster += fmt.Sprintf(",other-%d=%s", i, u) // etcd goes by the addresses
		}
	}
}

// share makes this proxy's store reachable for the other proxies: it listens, tells its address, and has the server start again with the
// time-outs of several. Changes wait for that start; traffic does not notice it.
func (s *Store) share(ctx context.Context) error {
	if s.o.Peers == nil {
		return ErrAlone
	}
	if host, port, _ := net.SplitHostPort(s.o.Peers.Advertise); port == "0" || host == "" {
		return fmt.Errorf("%w: its catalog.address names no port that others could reach", ErrAlone)
	}
	s.sharing.Lock()
	defer s.sharing.Unlock()
	if s.run.Load().peers == nil {
		if err := s.restartShared(); err != nil {
			return err
		}
		s.logger.Info("the catalog is shared from now on", "address", s.o.Peers.Advertise)
	}
	return s.tellAddress(ctx)
}

// tellAddress makes the address that the others have for this proxy the right one.
func (s *Store) tellAddress(ctx context.Context) error {
	server, want := s.run.Load().etcd.Server, peerURL(s.o.Peers.Advertise).String()
	self := server.Cluster().Member(server.MemberID())
	if self == nil || slices.Equal(self.PeerURLs, []string{want}) {
		return nil
	}
	return s.do(ctx, func(ctx context.Context) error {
		_, err := s.client().MemberUpdate(ctx, uint64(server.MemberID()), []string{want})
		return err
	})
}

// listen binds the address where the other proxies reach this one.
func (s *Store) listen() (*peers.Server, error) {
	if s.o.Peers == nil {
		return nil, fmt.Errorf("%w: the catalog in %s is one of several proxies", ErrAlone, s.o.Dir)
	}
	return peers.Listen(s.o.Peers, s.admit, s.logger)
}

// restartShared ends the server and begins another life of it, with peers.
func (s *Store) restartShared() error {
	listening, err := s.listen()
	if err != nil {
		return err
	}
	if !s.use.TryRLock() {
		listening.Close()
		return ErrClosed
	}
	defer s.use.RUnlock()
	s.gate.Lock()
	defer s.gate.Unlock()
	s.run.Load().stop()
	r, err := s.start(listening)
	if err != nil {
		s.fail(err.Error()) // nothing is acknowledged; the traffic goes on
		return err
	}
	s.run.Store(r)
	return nil
}
