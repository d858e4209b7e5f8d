package catalog

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

func (s *store) ownState() replicaState {
	v := s.view()
	if v == nil {
		return replicaState{}
	}
	return replicaState{Revision: v.Revision, Ready: v.ClusterID != "" && s.led()}
}

// HasLeader reports whether changes can be made: some proxy leads the catalog.
// Of an outside etcd only an attempt can tell.
func (c *Catalog) HasLeader() bool {
	s := c.store.Load()
	return s.err() == nil && (s.outside || s.led())
}

// Replicas lists the proxies that have the catalog, by name, and asks each how far
// it is. It takes a second at most. While there is one proxy it names that; where
// the etcd is an outside one, nobody.
func (c *Catalog) Replicas(ctx context.Context) []Replica {
	run := c.store.Load().run.Load()
	if run.etcd == nil {
		return nil
	}
	server := run.etcd.Server
	leader := server.Leader()
	var list []Replica
	for _, e := range server.Cluster().Members() {
		r := Replica{Name: c.replicaName(e.Name, e.PeerURLs), Role: ReplicaVoter, Self: e.ID == server.MemberID(), id: uint64(e.ID)}
		if len(e.PeerURLs) > 0 {
			r.Address = hostOf(e.PeerURLs[0])
		}
		switch {
		case e.IsLearner:
			r.Role = ReplicaLearner
		case e.ID == leader && c.HasLeader():
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
			state, err := c.stateOf(ctx, run, r)
			r.Reachable, r.Ready, r.Revision = err == nil, state.Ready, state.Revision
		})
	}
	wg.Wait()
	now := c.View().Revision
	for i := range list {
		if r := &list[i]; r.Reachable {
			r.Behind = max(0, now-r.Revision)
		}
	}
	slices.SortFunc(list, func(a, b Replica) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// stateOf asks one proxy how far it is.
func (c *Catalog) stateOf(ctx context.Context, run *running, r *Replica) (state replicaState, err error) {
	if r.Self {
		return c.store.Load().ownState(), nil
	}
	if c.o.Peers == nil {
		return state, ErrAlone
	}
	transport := &http.Transport{
		TLSClientConfig: c.o.Peers.ClientTLS(r.Name, c.store.Load().admit), DisableKeepAlives: true,
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
func (c *Catalog) Part() (cluster, replica string) {
	if e := c.store.Load().run.Load().etcd; e != nil {
		return e.Server.Cluster().ID().String(), e.Server.MemberID().String()
	}
	return "", ""
}

// HasReplica reports whether a proxy's part, as it names it, is one of this
// catalog. While this proxy has no majority itself the answer is yes.
func (c *Catalog) HasReplica(cluster, replica string) bool {
	e := c.store.Load().run.Load().etcd
	if e == nil || !c.HasLeader() {
		return true
	}
	if e.Server.Cluster().ID().String() != cluster {
		return false
	}
	return slices.ContainsFunc(e.Server.Cluster().Members(), func(m *membership.Member) bool { return m.ID.String() == replica })
}
