package membership

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"portico/membership/catalog"
)

// The paths of the proxy's side, on the admin listener.
const (
	PathKnock = "/v1/knock"       // POST, no credentials: a Knock, answered by a KnockAnswer
	PathRenew = "/v1/agent/renew" // POST, mutual TLS: a Renewal, answered by an Acceptance
	PathKeys  = "/v1/agent/keys"  // GET, mutual TLS: answered by Keys

	// Of proxies only, mutual TLS. POST asks for a part in the catalog and is answered by
	// a Replica; GET asks whether the part that it has is still good.
	PathCatalog = "/v1/proxy/catalog"
)

// Hello is what a machine says about itself.
type Hello struct {
	Name     string            `json:"name"`
	ID       string            `json:"id"`
	Role     catalog.Role      `json:"role"`
	Addr     string            `json:"addr"`              // host:port of its mutual TLS listener
	Gossip   string            `json:"gossip"`            // host:port of serf; empty: it does not gossip yet
	Catalog  string            `json:"catalog,omitempty"` // host:port where the other proxies reach a proxy's catalog
	Version  string            `json:"version"`
	Platform string            `json:"platform"`
	Runtimes map[string]string `json:"runtimes,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	Weight   int               `json:"weight,omitempty"` // 0: 100
}

// Knock is the request of a machine that wants in: the body of POST /v1/knock,
// at most 16 KiB. It proves nothing but the possession of the key in CSR, and
// all that an answer holds is of use only with that key.
type Knock struct {
	Hello
	CSR  []byte `json:"csr"`            // PKCS #10, DER
	Code string `json:"code,omitempty"` // of an invite

	// Wait is how many seconds the proxy may hold back a "pending" answer,
	// so that a decision arrives at once. At most 20.
	Wait int `json:"wait,omitempty"`
}

// KnockAnswer is the answer to a Knock: 202 while pending, 200 once accepted.
// A refusal is an error with status 403.
type KnockAnswer struct {
	State       catalog.Admission `json:"state"`
	Fingerprint string            `json:"fingerprint"`           // of the machine's key, to be compared by people
	RetryAfter  int               `json:"retry_after,omitempty"` // seconds until the next knock makes sense
	*Acceptance                   // only when accepted
}

// Acceptance is what an accepted member gets. The gossip keys are not in it:
// they are fetched with the certificate, so that only the owner of the key can.
type Acceptance struct {
	Certificate []byte                  `json:"certificate,omitempty"` // DER
	CA          []byte                  `json:"ca"`                    // DER
	Cluster     string                  `json:"cluster"`
	Seeds       []string                `json:"seeds,omitempty"` // gossip addresses of proxies
	Settings    catalog.ClusterSettings `json:"settings"`
}

// Renewal is the body of POST /v1/agent/renew: news about the machine, and a
// CSR when its certificate should be issued anew.
type Renewal struct {
	Hello
	CSR []byte `json:"csr,omitempty"`
}

// Keys is the answer of GET /v1/agent/keys?have=SUM&wait=30: the gossip keys,
// the primary first. With have, the answer waits until they differ from those
// whose sum it is.
type Keys struct {
	Keys [][]byte `json:"keys"`
	Sum  string   `json:"sum"`
}

// Refusal is why a machine is not let in, or why a request of a member fails.
type Refusal struct {
	Status  int    `json:"-"` // HTTP status
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`

	retry time.Duration // when to try again; 0: not said
}

// The codes of refusals.
const (
	CodeInvalid      = "invalid"       // the request makes no sense
	CodeRefused      = "refused"       // an operator said no
	CodeRevoked      = "revoked"       // an operator took the acceptance back
	CodeNameTaken    = "name_taken"    // another machine has the name
	CodeKeyTaken     = "key_taken"     // the same key has another name: a copied disk
	CodeVersion      = "version"       // another major.minor
	CodeAddress      = "address"       // nobody could reach it there
	CodeAddressTaken = "address_taken" // another member is there
	CodeRuntime      = "runtime"       // an installed site could not run there
	CodeInvite       = "invite"        // the code is wrong, used or too old
	CodeFull         = "full"          // too many machines wait for a decision
	CodeRate         = "rate"          // too many knocks from there
	CodeNotMember    = "not_a_member"  // no certificate of an accepted member
	CodeUnavailable  = "unavailable"   // the catalog cannot be written at the moment
	CodeNoReplica    = "no_replica"    // the proxies' catalog is another one, or this proxy has no part in it
)

// Error says what is wrong, and what helps.
func (r *Refusal) Error() string {
	if r.Hint == "" {
		return r.Message
	}
	return r.Message + ": " + r.Hint
}

// Final reports whether knocking again changes nothing until somebody acts.
func (r *Refusal) Final() bool {
	return r.Status >= 400 && r.Status < 500 && r.Status != http.StatusTooManyRequests
}

// byOperator reports whether somebody decided against this machine, who can
// decide otherwise without anything changing at the machine.
func (r *Refusal) byOperator() bool { return r.Code == CodeRefused || r.Code == CodeRevoked }

func refuse(status int, code, hint, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Code: code, Hint: hint, Message: fmt.Sprintf(format, args...)}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}

// writeError is the one place where an error becomes a status and public text.
func writeError(w http.ResponseWriter, err error) {
	var r *Refusal
	switch {
	case errors.As(err, &r):
	case errors.Is(err, catalog.ErrInvalid):
		r = refuse(http.StatusBadRequest, CodeInvalid, "", "%v", err)
	default:
		r = refuse(http.StatusServiceUnavailable, CodeUnavailable, "the proxy's log says more", "the catalog cannot be changed at the moment")
	}
	if r.retry > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int((r.retry+time.Second-1)/time.Second)))
	}
	writeJSON(w, r.Status, map[string]*Refusal{"error": r})
}
