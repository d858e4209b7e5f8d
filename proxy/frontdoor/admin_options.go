package frontdoor

import (
	"context"
	"crypto/tls"
	"io"
	"slices"
	"sync"
	"time"

	"portico/certs"
	"portico/membership"
	"portico/membership/catalog"
	"portico/proxy/admin"
	"portico/proxy/admin/api"
)

// adminOptions hands the admin handler what it shows and does.
func (p *Proxy) adminOptions(hosts []string, loginKey []byte) admin.Options {
	return admin.Options{
		Catalog: p.catalog, Logger: p.log.With("part", "admin"), Name: p.conf.Proxy.Name, Version: p.options.Version, Started: p.started,
		Hosts: hosts, LoginKey: loginKey,
		Snapshot: p.web.Snapshot, Pool: p.web.Pool, Recent: func(id string, _ time.Duration) int { return p.web.RecentSessions(id) },
		URLs:         p.web.URLs,
		Explain:      p.explain,
		Exchanges:    p.exchanges,
		Backup:       p.catalog.Backup,
		Nodes:        p.nodes,
		Predecessors: p.predecessors,
		Certificates: p.certificates, CertificatesOf: p.certificatesOf,
		Ready:      p.notReady,
		Balancer:   p.web.Balancer(),
		Now:        p.web.Now,
		Drains:     p.deployer,
		AskOthers:  p.deployer.AskOthers,
		TurnedAway: p.admission.TurnedAway,
		RotateKeys: map[string]func(context.Context) error{
			api.KeySession: func(ctx context.Context) error { return p.rotateSessionKey(ctx, time.Now()) },
			api.KeyGossip:  p.admission.RotateKeys,
			api.KeyTickets: p.replaceTicketKeys,
		},
		Admission: admission{p.admission},
		Deploys:   p.deployer,
		Archive:   p.deployer.Archive(),
		Logs:      p.deployer.Logs,
		Members:   p.memberHandlers(),
		Metrics:   []func(io.Writer){p.web.WriteMetrics},
		HAProxy:   p.haproxyOptions, ClientCertificate: p.clientCertificate,
		Known: knownConn,
	}
}

// admission adapts membership's answers to the API's.
type admission struct{ *membership.Admission }

// Invite implements admin.Admission.
func (a admission) Invite(ctx context.Context, role catalog.Role, ttl time.Duration, by string, labels ...string) (api.InviteAnswer, error) {
	i, err := a.Admission.Invite(ctx, role, ttl, by, labels...)
	return api.InviteAnswer{Code: i.Code, ID: i.ID, Role: i.Role, Expires: i.Expires, Labels: i.Labels}, err
}

func (p *Proxy) nodes() []admin.Node {
	var nodes []admin.Node
	for _, n := range p.gossip.Members() {
		nodes = append(nodes, admin.Node{Name: n.Name, Status: string(n.Status), Addr: n.Addr})
	}
	return nodes
}

// notReady says why this proxy should not get traffic yet, or any more.
func (p *Proxy) notReady() []string {
	var reasons []string
	if !p.web.Ready() {
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
