package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"

	"portico/internal/pause"
)

const (
	maintainEvery = time.Second     // between looks at who has the catalog
	strangerLife  = time.Minute     // how long one may have it whom the catalog does not know
	leaderless    = 3 * time.Second // without a leader before it is said; an election takes one
)

// Present returns the store that is open at present, another one after it was opened again; nil while there is
// none, as after the folder was given to another process.
type Present func() *Store

// Maintain removes copies of the store at proxies that are no members any more, and gives votes to complete ones, until ctx ends. It
// looks every second, and whenever changed says that the members are others.
func Maintain(ctx context.Context, present Present, changed <-chan struct{}, logger *slog.Logger) {
	look := pause.NewTicker(maintainEvery)
	defer look.Stop()
	m := maintenance{logger: logger, strangers: map[types.ID]time.Time{}, led: time.Now()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-look.C:
			look.Next()
		}
		s := present()
		if s == nil {
			continue
		}
		switch err := s.Err(); {
		case err == nil:
			m.look(ctx, s)
		case err.Error() != m.said:
			m.said = err.Error()
			logger.Error("the catalog takes no changes any more, traffic goes on with the last known state", "error", err)
		}
	}
}

// maintenance is what Maintain remembers between two looks.
type maintenance struct {
	logger    *slog.Logger
	strangers map[types.ID]time.Time // when they were seen first
	said      string                 // the last trouble that was logged
	led       time.Time              // when there was a leader last
	waiting   bool                   // it was said that there is none
}

func (m *maintenance) look(ctx context.Context, s *Store) {
	run := s.run.Load()
	server := run.etcd.Server
	if len(server.Cluster().Members()) == 1 && run.peers == nil {
		return
	}
	led := s.Led()
	if m.sayLeader(led); !led && run.peers != nil {
		return
	}
	limited, cancel := context.WithTimeout(ctx, OpTimeout)
	defer cancel()
	err := s.share(limited) // after a start with files that did not tell yet
	s.run.Load().peers.Prune()
	if err == nil && server.Leader() == server.MemberID() {
		err = errors.Join(m.dismiss(limited, s), m.promote(limited, s))
	}
	text := ""
	if err != nil && ctx.Err() == nil {
		text = err.Error()
	}
	if text != m.said && text != "" {
		m.logger.Warn("the proxies that have the catalog are not those that should, trying again", "error", err)
	}
	m.said = text
}

// sayLeader logs when changes begin to wait for a majority, and when they do not
// any more.
func (m *maintenance) sayLeader(known bool) {
	now := time.Now()
	if known {
		if m.waiting {
			m.logger.Info("the catalog has a majority again")
		}
		m.led, m.waiting = now, false
	} else if !m.waiting && now.Sub(m.led) > leaderless {
		m.waiting = true
		m.logger.Warn("the catalog has no majority: changes wait, traffic goes on with the last known state")
	}
}

// dismiss removes the replicas of proxies that are not accepted any more.
func (m *maintenance) dismiss(ctx context.Context, s *Store) error {
	server := s.run.Load().etcd.Server
	var errs []error
	for _, e := range server.Cluster().Members() {
		name := s.replicaName(e.Name, e.PeerURLs)
		member := s.o.Members.Member(name)
		if e.ID == server.MemberID() || member.Accepted {
			delete(m.strangers, e.ID)
			continue
		}
		if !member.Found {
			if m.strangers[e.ID].IsZero() {
				m.strangers[e.ID] = time.Now()
			}
			if time.Since(m.strangers[e.ID]) < strangerLife {
				continue // this view may be behind
			}
		} else if accepted, err := s.o.Members.AcceptedNow(ctx, name); err != nil || accepted {
			errs = append(errs, err)
			continue
		}
		if err := s.removeReplica(ctx, uint64(e.ID)); err != nil {
			errs = append(errs, fmt.Errorf("remove proxy %q: %w", name, err))
			continue
		}
		m.logger.Info("proxy removed from the catalog", "member", name)
	}
	return errors.Join(errs...)
}

// replicaName is the member behind one of etcd's: it tells its name at its first
// start, and until then its address has to do.
func (s *Store) replicaName(name string, urls []string) string {
	for _, u := range urls {
		if name == "" {
			name = s.o.Members.At(hostOf(u))
		}
	}
	return name
}

// promote gives a vote to learners that have the whole catalog. The number of votes stays odd, because two that must agree are worse than
// one: the second proxy has a copy without a vote until there is a third.
func (m *maintenance) promote(ctx context.Context, s *Store) error {
	server := s.run.Load().etcd.Server
	voters, learners := 0, 0
	for _, e := range server.Cluster().Members() {
		if e.IsLearner {
			learners++
		} else {
			voters++
		}
	}
	if learners == 0 || voters%2 == 1 && learners < 2 {
		return nil
	}
	var ready []Replica
	for _, r := range s.Replicas(ctx) {
		if r.Role == ReplicaLearner && r.Reachable && r.Ready {
			ready = append(ready, r)
		}
	}
	if voters%2 == 1 {
		ready = ready[:len(ready)/2*2]
	}
	for _, r := range ready {
		err := s.do(ctx, func(ctx context.Context) error {
			_, err := s.client().MemberPromote(ctx, r.id)
			return err
		})
		if err != nil {
			return fmt.Errorf("give proxy %q a vote: %w", r.Name, err)
		}
		m.logger.Info("proxy has a vote", "member", r.Name)
	}
	return nil
}
