package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"portico/internal/pause"
	"portico/membership/catalog/store/peers"
)

// addTimeout is for the others to take a proxy in; etcd wants them connected for 5 s.
const addTimeout = 30 * time.Second

// AddReplica makes room for another proxy, whose store listens at addr, and returns what it needs to start. It may be called again
// for the same one, which then begins anew. The proxy that calls it becomes reachable for others if it was the only one.
func (s *Store) AddReplica(ctx context.Context, name, addr string) (j peers.Joining, err error) {
	ctx, cancel := context.WithTimeout(ctx, addTimeout)
	defer cancel()
	if err := s.share(ctx); err != nil {
		return j, err
	}
	unlock, err := s.Lock(ctx, "replicas")
	if err != nil {
		return j, err
	}
	defer unlock()
	u := peerURL(addr).String()
	old, err := s.memberList(ctx)
	if err != nil {
		return j, err
	}
	for _, e := range old {
		if e.Name == name || slices.Contains(e.PeerURLs, u) {
			if err := s.removeReplica(ctx, e.ID); err != nil {
				return j, err
			}
		}
	}
	err = s.patiently(ctx, func(ctx context.Context) error {
		r, err := s.client().MemberAddAsLearner(ctx, []string{u})
		if err == nil {
			for _, e := range r.Members {
				j.Members = append(j.Members, e.PeerURLs...)
			}
		}
		return err
	})
	if err == nil {
		s.logger.Info("proxy added to the catalog", "member", name, "address", addr)
	}
	return j, err
}

func (s *Store) memberList(ctx context.Context) (list []*etcdserverpb.Member, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		r, err := s.client().MemberList(ctx)
		if err == nil {
			list = r.Members
		}
		return err
	})
	return list, err
}

// noMember is what etcd says of a member that is not there, or not any more.
const noMember = "member not found"

func (s *Store) removeReplica(ctx context.Context, id uint64) error {
	return s.patiently(ctx, func(ctx context.Context) error {
		_, err := s.client().MemberRemove(ctx, id)
		if err != nil && strings.Contains(err.Error(), noMember) {
			return nil
		}
		return err
	})
}

// patiently repeats a change of the replicas. Etcd refuses one until the others have been connected for 5 s. It also numbers members by
// the second: a proxy that comes back within the same one would get the number that was just removed.
func (s *Store) patiently(ctx context.Context, op func(context.Context) error) error {
	for {
		err := s.do(ctx, op)
		if err == nil || !strings.Contains(err.Error(), "unhealthy cluster") && !strings.Contains(err.Error(), noMember) {
			return err
		}
		if pause.For(ctx, 250*time.Millisecond) != nil {
			return err
		}
	}
}
