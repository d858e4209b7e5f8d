package main

import (
	"context"
	"crypto/tls"
	"io"
	"slices"
	"sync"
	"time"

	"portico/balancer"
	"portico/certs"
	"portico/deployhook"
	"portico/membership"
	"portico/membership/catalog"
	"portico/proxy/admin"
	"portico/proxy/haproxy"
)

// adminOptions hands the admin handler what it shows and does.
func (f *frontDoor) adminOptions(hosts []string, loginKey []byte) admin.Options {
	return admin.Options{
		Catalog: f.catalog, Logger: f.log.With("part", "admin"), Name: f.conf.Proxy.Name, Version: buildVersion(), Started: f.started,
		Hosts: hosts, LoginKey: loginKey,
		Snapshot: f.snapshot, Recent: f.recent,
		URLs:         f.web.URLs,
		Explain:      f.explain,
		Exchanges:    f.exchanges,
		Backup:       f.catalog.Backup,
		Nodes:        f.nodes,
		Formers:      f.formers,
		Certificates: f.certificates,
		Ready:        f.notReady,
		Balancer:     f.web.Balancer(),
		Now:          f.web.Now,
		Drains:       f.deployer,
		AskOthers:    f.deployer.AskOthers,
		TurnedAway:   f.admission.TurnedAway,
		RotateKeys: map[string]func(context.Context) error{
			admin.KeySession: func(ctx context.Context) error { return f.rotateSessionKey(ctx, time.Now()) },
			admin.KeyGossip:  f.admission.RotateKeys,
			admin.KeyTickets: f.replaceTicketKeys,
		},
		Admission: admission{f.admission},
		Deploys:   f.deployer,
		Archive:   f.deployer.Archive(),
		Logs: func(ctx context.Context, w io.Writer, q admin.LogQuery) error {
			return f.deployer.Logs(ctx, w, deployhook.LogQuery(q))
		},
		Members: f.memberHandlers(),
		Metrics: []func(io.Writer){f.web.WriteMetrics},
		HAProxy: f.haproxyOptions, ClientCertificate: f.clientCertificate,
	}
}

// admission adapts membership's answers to the API's.
type admission struct{ *membership.Admission }

// Invite implements admin.Admission.
func (a admission) Invite(ctx context.Context, role catalog.Role, ttl time.Duration, by string, labels ...string) (admin.InviteAnswer, error) {
	i, err := a.Admission.Invite(ctx, role, ttl, by, labels...)
	return admin.InviteAnswer{Code: i.Code, ID: i.ID, Role: i.Role, Expires: i.Expires, Labels: i.Labels}, err
}

// snapshot translates the proxy's counters into what page, CSV and JSON read.
func (f *frontDoor) snapshot() haproxy.Snapshot {
	s := f.web.Snapshot()
	out := haproxy.Snapshot{At: s.At, Started: s.Started, Pools: s.Pools}
	for _, front := range s.Frontends {
		out.Frontends = append(out.Frontends, haproxy.Frontend(front))
	}
	return out
}

// recent counts the sessions of an instance that were used a short time ago.
func (f *frontDoor) recent(instanceID string, _ time.Duration) int {
	b := f.web.Balancer()
	for _, pool := range f.web.Snapshot().Pools {
		p := b.Pool(pool.Name)
		if p == nil {
			continue
		}
		if u := p.Upstream(instanceID); u != nil {
			return b.Forecast([]*balancer.Upstream{u}, f.web.Now().UnixMilli()).Recent
		}
	}
	return 0
}

func (f *frontDoor) nodes() []admin.Node {
	var nodes []admin.Node
	for _, n := range f.gossip.Members() {
		nodes = append(nodes, admin.Node{Name: n.Name, Status: string(n.Status), Addr: n.Addr})
	}
	return nodes
}

// notReady says why this proxy should not get traffic yet, or any more.
func (f *frontDoor) notReady() []string {
	var reasons []string
	if !f.web.Ready() {
		reasons = append(reasons, "the proxy does not take connections")
	}
	return reasons
}

// renewing is a certificate of the own authority that is issued anew before it
// ends.
type renewing struct {
	authority *certs.Authority
	names     []string

	mu   sync.Mutex
	cert *tls.Certificate // guarded by mu
}

func newRenewing(a *certs.Authority, names []string) (*renewing, error) {
	slices.Sort(names)
	r := &renewing{authority: a, names: slices.Compact(names)}
	_, err := r.get(nil)
	return r, err
}

func (r *renewing) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cert != nil {
		leaf := r.cert.Leaf
		if time.Until(leaf.NotAfter) > leaf.NotAfter.Sub(leaf.NotBefore)/3 {
			return r.cert, nil
		}
	}
	cert, err := r.authority.IssueServer(r.names)
	if err != nil {
		return nil, err
	}
	r.cert = cert
	return cert, nil
}
