package membership

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"portico/membership/catalog"
)

// Replica is what an accepted proxy gets to begin with the cluster's catalog: the
// answer of POST /v1/proxy/catalog.
type Replica struct {
	// Key seals the secrets. Whoever has it and the catalog's files has every key of
	// the cluster, so it goes only to accepted proxies that have proved their own key.
	Key []byte `json:"key"`

	catalog.Joining
}

// replicaLimit is how long adding a proxy to the catalog may take.
const replicaLimit = 45 * time.Second

// proxyMember returns the accepted proxy that made a request, or answers 403. An
// exported HAProxy has a proxy's certificate, and no catalog.
func (a *Admission) proxyMember(w http.ResponseWriter, r *http.Request) (catalog.Member, bool) {
	m, ok := a.member(w, r)
	if !ok {
		return m, false
	}
	if m.Role != catalog.RoleProxy || m.Catalog == "" {
		writeError(w, refuse(http.StatusForbidden, CodeNotMember, "", "this is for accepted proxies only"))
		return m, false
	}
	return m, true
}

// serveReplica gives an accepted proxy a part in the catalog.
func (a *Admission) serveReplica(w http.ResponseWriter, r *http.Request) {
	m, ok := a.proxyMember(w, r)
	if !ok {
		return
	}
	if len(a.o.SealKey) == 0 {
		writeError(w, refuse(http.StatusConflict, CodeUnavailable, "", "this proxy shares its catalog with nobody"))
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(replicaLimit + 10*time.Second))
	ctx, cancel := context.WithTimeout(r.Context(), replicaLimit)
	defer cancel()
	j, err := a.o.Catalog.AddReplica(ctx, m.Name)
	if err != nil && !errors.Is(err, catalog.ErrOutside) { // of which everybody has the same part
		a.log.Warn("proxy not added to the catalog", "member", m.Name, "error", err)
		writeError(w, refuse(http.StatusServiceUnavailable, CodeUnavailable, "", "%v", err))
		return
	}
	if _, ok := a.proxyMember(w, r); ok { // it may have been revoked meanwhile
		a.log.Info("proxy got the catalog's key", "member", m.Name, "from", remote(r).String())
		writeJSON(w, http.StatusOK, Replica{Key: a.o.SealKey, Joining: j})
	}
}

// serveStanding tells a proxy that has no majority whether its part in the catalog
// is still good: it may have been away while it was replaced, or while the others
// began anew from a backup.
func (a *Admission) serveStanding(w http.ResponseWriter, r *http.Request) {
	if _, ok := a.proxyMember(w, r); !ok {
		return
	}
	q := r.URL.Query()
	if !a.o.Catalog.HasReplica(q.Get("cluster"), q.Get("replica")) {
		writeError(w, refuse(http.StatusForbidden, CodeNoReplica, "", "the catalog of the other proxies is another one by now: they were restored from a backup, or this proxy was replaced"))
		return
	}
	writeJSON(w, http.StatusOK, struct{}{})
}

// AskReplica asks the proxies in turn, for as long as it takes, for a part in their
// catalog. It returns a *Refusal when they have none to give. o needs Servers and Member.
func AskReplica(ctx context.Context, o JoinOptions) (Replica, error) {
	client := memberClient(o.Member)
	defer client.CloseIdleConnections()
	for n := 0; ; n++ {
		var answer Replica
		err := ask(ctx, replicaLimit+15*time.Second, client, http.MethodPost, o.Servers[n%len(o.Servers)], PathCatalog, &answer)
		if err == nil {
			return answer, nil
		}
		var refusal *Refusal
		if errors.As(err, &refusal) && refusal.Final() {
			return Replica{}, fmt.Errorf("join the catalog: %w", err)
		}
		if o.Progress != nil {
			o.Progress(Progress{State: Unreachable, Server: o.Servers[n%len(o.Servers)], Fingerprint: o.Identity.Fingerprint(), Err: err})
		}
		if err := rest(ctx, backoff(n/len(o.Servers))); err != nil {
			return Replica{}, fmt.Errorf("join the catalog: %w", err)
		}
	}
}

// Standing asks the proxies at servers whether this one still belongs to them with
// its part in the catalog. It returns a *Refusal when one of them says no; an error
// of another kind when nobody can be asked.
func Standing(ctx context.Context, member *tls.Config, servers []string, cluster, replica string) error {
	client := memberClient(member)
	defer client.CloseIdleConnections()
	path := PathCatalog + "?" + url.Values{"cluster": {cluster}, "replica": {replica}}.Encode()
	last := errNoServer
	for _, server := range servers {
		err := ask(ctx, 5*time.Second, client, http.MethodGet, server, path, &struct{}{})
		var refusal *Refusal
		switch {
		case err == nil:
			return nil
		case errors.As(err, &refusal) && (refusal.Code == CodeNotMember || refusal.Code == CodeNoReplica):
			return refusal
		case rejected(err):
			return refuse(http.StatusForbidden, CodeNotMember, "", "the other proxies do not take this one's certificate any more")
		}
		last = err
	}
	return last
}

func ask(ctx context.Context, limit time.Duration, client *http.Client, method, server, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return call(ctx, client, method, server, path, nil, into)
}
