package store

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
)

// ReplicaRole is what a proxy is to the shared catalog.
type ReplicaRole string

// The roles of a replica.
const (
	ReplicaLeader  ReplicaRole = "leader"
	ReplicaVoter   ReplicaRole = "voter"
	ReplicaLearner ReplicaRole = "learner" // has a copy and no vote
)

// Replica is one proxy's copy of the catalog, as it looks from here.
type Replica struct {
	Name      string      `json:"name"` // empty: one that never started and whose record is gone
	Role      ReplicaRole `json:"role"`
	Address   string      `json:"address"`
	Self      bool        `json:"self,omitempty"`
	Reachable bool        `json:"reachable"`
	Ready     bool        `json:"ready"`    // it has read the whole catalog since its start
	Revision  int64       `json:"revision"` // of its view; 0: not known
	Behind    int64       `json:"behind"`   // changes that this proxy has and it has not

	id uint64
}

// pathReplica answers with a replicaState, beside etcd's own paths.
const pathReplica = "/portico/replica"

// replicaState is what a proxy says of its own copy.
type replicaState struct {
	Revision int64 `json:"revision"`
	Ready    bool  `json:"ready"`
}

const (
	stateTimeout = time.Second // for another proxy to say how far it is
	maxState     = 4 << 10
)

func (s *Store) ownState() replicaState {
	revision, whole := s.o.Members.Read()
	return replicaState{Revision: revision, Ready: whole && s.Led()}
}

// handler answers the other proxies.
func (s *Store) handler(e *embed.Etcd) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", etcdhttp.NewPeerHandler(e.GetLogger(), e.Server))
	mux.HandleFunc("GET "+pathReplica, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.ownState()) // the client has gone
	})
	return mux
}

// HasLeader reports whether changes can be made: some proxy leads the catalog.
// Of an outside etcd only an attempt can tell.
func (s *Store) HasLeader() bool {
	return s.Err() == nil && (s.outside || s.Led())
}

// Replicas lists the proxies that have the catalog, by name, and asks each how far
// it is. It takes a second at most. While there is one proxy it names that; where
// the etcd is an outside one, nobody.
func (s *Store) Replicas(ctx context.Context) []Replica {
	run := s.run.Load()
	if run.etcd == nil {
		return nil
	}
	server := run.etcd.Server
	leader := server.Leader()
	var list []Replica
	for _, e := range server.Cluster().Members() {
		r := Replica{Name: s.replicaName(e.Name, e.PeerURLs), Role: ReplicaVoter, Self: e.ID == server.MemberID(), id: uint64(e.ID)}
		if len(e.PeerURLs) > 0 {
			r.Address = hostOf(e.PeerURLs[0])
		}
		switch {
		case e.IsLearner:
			r.Role = ReplicaLearner
		case e.ID == leader && s.HasLeader():
			r.Role = ReplicaLeader
		}
		list = append(list, r)
	}
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for i := range list {
		wg.Go(func() {
			r := &list[i]
			state, err := s.stateOf(ctx, r)
			r.Reachable, r.Ready, r.Revision = err == nil, state.Ready, state.Revision
		})
	}
	wg.Wait()
	now, _ := s.o.Members.Read()
	for i := range list {
		if r := &list[i]; r.Reachable {
			r.Behind = max(0, now-r.Revision)
		}
	}
	slices.SortFunc(list, func(a, b Replica) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// stateOf asks one proxy how far it is.
func (s *Store) stateOf(ctx context.Context, r *Replica) (state replicaState, err error) {
	if r.Self {
		return s.ownState(), nil
	}
	if s.o.Peers == nil {
		return state, ErrAlone
	}
	transport := &http.Transport{
		TLSClientConfig: s.o.Peers.ClientTLS(r.Name, s.admit), DisableKeepAlives: true,
		DialContext: (&net.Dialer{}).DialContext,
	}
	return stateAt(ctx, &http.Client{Transport: transport, CheckRedirect: noRedirect}, r.Address)
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// stateAt asks the proxy at addr how far it is.
func stateAt(ctx context.Context, client *http.Client, addr string) (state replicaState, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+addr+pathReplica, nil)
	if err != nil {
		return state, err
	}
	answer, err := client.Do(req)
	if err != nil {
		return state, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return state, fmt.Errorf("it answers %s", answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxState)).Decode(&state); err != nil {
		return state, err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, maxState)) // so that the connection can serve the next
	return state, err
}

// hostOf is the address in the URL that etcd has for a proxy.
func hostOf(u string) string { return strings.TrimPrefix(u, "https://") }

// Part names this proxy's part in the shared catalog, for HasReplica of another.
// Both are empty where the etcd is an outside one.
func (s *Store) Part() (cluster, replica string) {
	if e := s.run.Load().etcd; e != nil {
		return e.Server.Cluster().ID().String(), e.Server.MemberID().String()
	}
	return "", ""
}

// HasReplica reports whether a proxy's part, as it names it, is one of this
// catalog. While this proxy has no majority itself the answer is yes.
func (s *Store) HasReplica(cluster, replica string) bool {
	e := s.run.Load().etcd
	if e == nil || !s.HasLeader() {
		return true
	}
	if e.Server.Cluster().ID().String() != cluster {
		return false
	}
	return slices.ContainsFunc(e.Server.Cluster().Members(), func(m *membership.Member) bool { return m.ID.String() == replica })
}
