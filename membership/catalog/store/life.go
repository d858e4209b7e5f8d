package store

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"

	"portico/internal/pause"
	"portico/membership/catalog/store/peers"
)

// running is one life of the server inside the store. It begins another when the
// catalog is shared with other proxies.
type running struct {
	etcd   *embed.Etcd // nil: somebody else runs it
	client *clientv3.Client
	peers  *peers.Server // nil: nobody but this process has the catalog

	once     sync.Once
	stopping chan struct{}  // closed by stop
	watched  chan struct{}  // closed when nobody looks after this life any more
	standing sync.WaitGroup // a single proxy's own election
}

// handOver is how long a leader that stops looks for another one.
const handOver = 1500 * time.Millisecond

// client speaks to the present life of the server.
func (s *Store) client() *clientv3.Client { return s.run.Load().client }

// stop ends this life and waits for it. It may be called twice.
func (r *running) stop() {
	r.once.Do(func() {
		if r.etcd == nil {
			_ = r.client.Close()
			return
		}
		close(r.stopping)
		_ = r.client.Close()
		// A leader hands over before it goes, which takes long if nobody is there.
		hard := make(chan struct{})
		timer := time.AfterFunc(handOver, func() { defer close(hard); r.etcd.Server.HardStop() })
		r.etcd.Close()
		if !timer.Stop() {
			<-hard
		}
		r.peers.Close()
		<-r.watched
		r.standing.Wait()
	})
}

// watchRemoval notices a server that stops by itself: the others removed it.
func (s *Store) watchRemoval(r *running) {
	r.stopping, r.watched = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(r.watched)
		select {
		case <-r.stopping:
		case <-s.broken.Done(): // for another reason; it may never stop
		case <-r.etcd.Server.StopNotify():
			select {
			case <-r.stopping:
			default:
				s.removed.Store(true)
				s.fail("the other proxies removed this one")
			}
		}
	}()
}

// leaderGrace is how long a change that the leader before was asked for may still succeed after another one was elected.
const leaderGrace = time.Second

// Led reports whether some proxy leads the catalog. A proxy without a vote takes no part in elections and goes on to name a leader that
// has died, so for such a one it counts whether the connection to the leader lasts.
func (s *Store) Led() bool {
	r := s.run.Load()
	if r == nil {
		return false
	}
	server := r.etcd.Server
	leader := server.Leader()
	self := server.Cluster().Member(server.MemberID()) // nil once the others have removed it
	if leader == 0 || self == nil || r.peers == nil || !self.IsLearner {
		return leader != 0 && self != nil
	}
	m := server.Cluster().Member(leader)
	return m == nil || m.Name == "" || r.peers.Connected(m.Name)
}

// electionWait is how long a change waits for a leader: elections take one or two
// seconds, and where there is no majority people should not wait for long.
const electionWait = 4 * time.Second

// awaitLeader returns ErrNoMajority where several proxies share the catalog and there
// has been no leader for a while.
func (s *Store) awaitLeader(ctx context.Context) error {
	r := s.run.Load()
	if r.peers == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, electionWait)
	defer cancel()
	for !s.Led() {
		if pause.For(ctx, 10*time.Millisecond) != nil {
			return ErrNoMajority
		}
	}
	return nil
}

// explainTimeout makes of etcd's time-outs what they mean while there is no leader.
func (s *Store) explainTimeout(err error) error {
	r := s.run.Load()
	if r.peers == nil || s.Led() || !unanswered(err) {
		return err
	}
	return ErrNoMajority
}

// whileLed returns a context for one change, which ends soon after the leader that it
// goes to has been replaced. Etcd itself waits for six seconds then.
func (s *Store) whileLed(ctx context.Context) (_ context.Context, done func()) {
	r := s.run.Load()
	if r.peers == nil {
		return ctx, func() {}
	}
	server := r.etcd.Server
	changed, asked := server.LeaderChanged(), server.Leader()
	if asked == 0 || asked == server.MemberID() { // it waits for the next, or it is done here
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			changed = server.LeaderChanged()
			if now := server.Leader(); now == 0 || now == asked {
				continue
			}
			if pause.For(ctx, leaderGrace) == nil {
				cancel(ErrLeaderChanged)
			}
			return
		}
	}()
	return ctx, func() { cancel(nil); <-ended }
}

// leaderKnown returns a channel that is closed once the server knows a leader; nil for a server that does not share its catalog. Etcd
// calls the server ready later, by seconds where its first message to the leader was lost.
func (s *Store) leaderKnown(ctx context.Context, server *etcdserver.EtcdServer) <-chan struct{} {
	known := make(chan struct{})
	if s.run.Load().peers == nil {
		return nil
	}
	go func() {
		for server.Leader() == 0 {
			if pause.For(ctx, 10*time.Millisecond) != nil {
				return
			}
		}
		close(known)
	}()
	return known
}
