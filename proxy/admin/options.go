package admin

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"portico/balancer"
	"portico/balancer/figures"
	"portico/conf/sites"
	"portico/deployhook"
	"portico/deployhook/logs"
	"portico/membership"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
	"portico/proxy/admin/api"
	"portico/proxy/admin/deeds"
	"portico/proxy/haproxy"
	"portico/proxy/recent"
)

// Options are what the admin listener needs of the rest of the program. Only
// Catalog is required: a route whose function is nil answers 501.
type Options struct {
	Catalog *catalog.Catalog
	Logger  *slog.Logger // nil: nothing is logged

	Name    string    // this proxy's member name
	Version string    // of the program
	Started time.Time // of the process; zero: now

	// Hosts are the names under which the listener may be addressed, without
	// port. Addresses and "localhost" are always good. A request for any other
	// name gets 421, because a name that somebody else's DNS points here is how
	// a web page would reach a listener on a private network.
	Hosts []string

	LoginKey []byte // 32 bytes that seal page logins; nil: made now, so a restart ends them

	// Known is told of each request with a token or a login that is good. Nil: nobody is.
	Known func(*http.Request)

	// Snapshot returns the traffic of this proxy, Pool that of one of its sites. Recent counts the sessions of
	// an instance that were used within the given time.
	Snapshot func() figures.Proxy
	Pool     func(site string) (figures.Pool, bool)
	Recent   func(instanceID string, within time.Duration) int

	// Balancer is the proxy's, with its table of sessions.
	Balancer *balancer.Balancer

	// Now is the time of day, once the balancer knows whether the clock was set. Nil: time.Now.
	Now func() time.Time

	// URLs are where a site with these settings answers at this proxy; here is how the caller
	// has reached it. Nil: nobody knows.
	URLs func(set sites.Settings, here string) []string

	Explain      func(api.ExplainQuery) (any, error)       // why a request would go where; the result is shown as JSON
	Exchanges    func(api.ExchangeQuery) []recent.Exchange // the last requests, the latest first
	Nodes        func() []Node                             // what gossip says
	Predecessors func() []api.Predecessor                  // what is left of the processes before this one
	Ready        func() []string                           // why this proxy is not ready; empty: it is

	// Certificates are those of all hosts, CertificatesOf those of some, in their order. Both nil: nobody knows.
	Certificates   func() []api.Certificate
	CertificatesOf func(hosts []string) []api.Certificate

	Admission Admission
	Deploys   Deploys

	Drains Drains

	// AskOthers puts a question to the other proxies of the cluster; their AnswerPeer
	// answers it. Nil: there are none.
	AskOthers func(ctx context.Context, what string, in any) []deployhook.OtherAnswer

	// TurnedAway are the machines whose knock this proxy refused lately.
	TurnedAway func() []membership.Turned

	// RotateKeys replace a key that the cluster shares, by its name: KeySession,
	// KeyTickets, KeyGossip.
	RotateKeys map[string]func(ctx context.Context) error

	// Archive takes PUT /v1/sites/{site}/archive after the caller has been
	// authenticated and found allowed to deploy the site; ActorFrom tells whom.
	Archive http.Handler

	// Logs copies the logs of a site's instances as text.
	Logs func(ctx context.Context, w io.Writer, q logs.Query) error

	// Members are handlers for members' own requests (knock, wanted, report,
	// objects …) by pattern of http.ServeMux. They authenticate their callers
	// themselves, by client certificate or, for the knock, not at all.
	Members map[string]http.Handler

	// Backup writes a backup of the catalog.
	Backup func(ctx context.Context, w io.Writer) error

	// Metrics append series of other packages to /metrics.
	Metrics []func(w io.Writer)

	// HAProxy returns what the export needs beyond the view, which is set for
	// it. ClientCertificate makes an exported HAProxy a member under that name:
	// it signs the request (DER) and returns the certificate and the cluster's
	// authority, both PEM. The key stays where the request was made.
	HAProxy           func() haproxy.Options
	ClientCertificate func(ctx context.Context, name string, csr []byte, by string) (client, ca []byte, err error)
}

// Admission decides who is a member.
type Admission interface {
	deeds.Admission
	Invite(ctx context.Context, role catalog.Role, ttl time.Duration, by string, labels ...string) (api.InviteAnswer, error)
}

// Deploys moves sites between releases.
type Deploys interface {
	deeds.Deploys
	// Set merges a change into what operators have set for a site. One that running
	// processes cannot follow begins a deploy, and begun is true.
	Set(ctx context.Context, site string, patch []byte, by string) (deploy catalog.Deploy, begun bool, err error)

	// TightMemory warns of application servers on which a release (empty: one to
	// come) may not find memory beside the site's present one.
	TightMemory(site, release string) []string

	// Events calls send for what has happened to a deploy and then for what
	// happens, until it has ended or ctx is done.
	Events(ctx context.Context, id string, send func(messages.Event) error) error
}

type actorKey struct{}

// Actor is who makes a request.
type Actor struct {
	Account string
	From    string // client address without port
}

// ActorFrom returns who was authenticated for a request that this package has
// handed on, or a zero Actor.
func ActorFrom(ctx context.Context) Actor {
	a, _ := ctx.Value(actorKey{}).(Actor)
	return a
}

// Node is what gossip says of a member: a hint, never proof.
type Node struct {
	Name   string `json:"name"`
	Status string `json:"status"` // "alive", "failed", "left"
	Addr   string `json:"addr"`
}

// Drains empties members, instances and former releases of their sessions.
type Drains interface {
	deeds.Drains
	Drains() []deployhook.Drain
	EndedDrains() []deployhook.EndedDrain
}
