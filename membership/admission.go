package membership

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

// Authority signs certificates for members, see certs.Authority.
type Authority interface {
	SignMember(csr []byte, m catalog.Member, now time.Time) (der []byte, err error)
	Certificate() []byte // its own, DER
}

// AdmissionOptions say on whose behalf a proxy decides.
type AdmissionOptions struct {
	Catalog   *catalog.Catalog
	Authority Authority
	Name      string // of this proxy, which cannot revoke itself
	Version   string // of this program

	// Loopback tells that members may be reached over loopback addresses,
	// because this proxy is: the cluster is on one machine.
	Loopback bool

	// Member returns the accepted member that made a request, by its client
	// certificate and the current view, see certs.MemberOf.
	Member func(*http.Request) (catalog.Member, bool)

	// SetKeys is called with the gossip keys, the primary first, at the start
	// of Run and whenever they change. Nil: this proxy does not gossip.
	SetKeys func([][]byte) error

	// Revoking adds to the change of the catalog that revokes a member: it replaces what
	// that one knew. Nil: only the gossip key is replaced.
	Revoking func(tx *catalog.Tx, m catalog.Member) error

	// Forget is called with the name of a member that was revoked, see
	// Cluster.Forget. Nil: nothing to do.
	Forget func(name string)

	// SealKey seals the catalog's secrets: it goes to accepted proxies, over mutual
	// TLS, and nowhere else. Nil: no other proxy gets a part in the catalog.
	SealKey []byte

	Logger *slog.Logger     // nil: nothing is logged
	now    func() time.Time // nil: time.Now
}

// Admission is the proxy's side of joining: it takes knocks, carries out what
// operators decide, and gives accepted members their certificates and keys.
type Admission struct {
	o     AdmissionOptions
	log   *slog.Logger
	rules rules

	knocks    *limiter
	audits    *limiter
	working   chan struct{} // slots for knocks that are being checked
	seen      seen
	turned    turned
	longPolls longPolls

	closed context.Context // ends with Close
	close  context.CancelFunc
}

const (
	knockRate    = 10 // a second, from one address
	knockBurst   = 20
	knockWorkers = 16 // a signature is checked for each
	maxKnock     = 16 << 10
	maxHold      = 20 * time.Second

	// A machine that has stopped knocking is taken off the pending list, a
	// refused one is remembered for a week.
	pendingLife = 15 * time.Minute
	refusedLife = 7 * 24 * time.Hour
	maxRefused  = 200

	// keyGrace is how long the former gossip key is understood after a new
	// one: long enough for all members to fetch it, short enough that who was
	// revoked is soon talking to nobody.
	keyGrace = 5 * time.Second
)

// NewAdmission returns the proxy's side of joining. Run must run beside it.
func NewAdmission(o AdmissionOptions) *Admission {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.now == nil {
		o.now = time.Now
	}
	a := &Admission{
		o: o, log: o.Logger, rules: rules{version: o.Version, loopback: o.Loopback},
		knocks:    newLimiter(knockRate, knockBurst),
		audits:    newLimiter(0.1, 10),
		working:   make(chan struct{}, knockWorkers),
		seen:      seen{started: o.now(), at: map[string]time.Time{}},
		longPolls: longPolls{byKey: map[string]chan struct{}{}},
	}
	a.closed, a.close = context.WithCancel(context.Background())
	return a
}

// Close answers those who wait for news, so that the listener need not cut them off.
// Whoever asks from then on gets an answer at once. It may be called twice.
func (a *Admission) Close() { a.close() }

// Handlers returns the handlers of the admin listener by pattern. The first is
// for anybody, the others look for a member's client certificate themselves.
func (a *Admission) Handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"POST " + PathKnock: http.HandlerFunc(a.serveKnock),
		"POST " + PathRenew: http.HandlerFunc(a.serveRenew),
		"GET " + PathKeys:   http.HandlerFunc(a.serveKeys),

		"POST " + PathCatalog: http.HandlerFunc(a.serveReplica),
		"GET " + PathCatalog:  http.HandlerFunc(a.serveStanding),
	}
}

// Accept lets a machine in that is pending, or was refused or revoked before.
// Accepting twice is no error. by is who decided. An application server gets the labels
// with its acceptance. The machine is the one whose key has that fingerprint, or whose fingerprint begins
// so, with minFingerprint digits at least; another one of the name is refused. Empty: whichever
// machine stands there.
func (a *Admission) Accept(ctx context.Context, name, fingerprint, by string, labels ...string) error {
	want, err := fingerprintDigits(fingerprint)
	if err != nil {
		return fmt.Errorf("accept member %q: %w", name, err)
	}
	_, err = a.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		switch m, err := tx.Member(name); {
		case err != nil:
			return err
		case !strings.HasPrefix(m.Fingerprint, want):
			return fmt.Errorf("%w: the machine that stands there has the key %s, not %s: another machine has knocked under this name, refuse it", catalog.ErrConflict, m.Fingerprint, want)
		case m.Admission == catalog.Accepted && len(labels) > 0 && !slices.Equal(m.Labels, labels):
			return fmt.Errorf("%w: it is accepted already: portico members label %s changes its labels", catalog.ErrConflict, name)
		case m.Admission == catalog.Accepted:
			return nil
		}
		_ = tx.Members() // an address must still be free when this commits
		_, err := a.acceptTx(tx, name, by, labels)
		return err
	})
	if err != nil {
		return fmt.Errorf("accept member %q: %w", name, err)
	}
	a.log.Info("member accepted", "member", name, "by", by)
	return nil
}

// minFingerprint is how many hexadecimal digits of a fingerprint say enough: nobody makes a key to
// fit 64 bits. It is how many portico members shows.
const minFingerprint = 16

// fingerprintDigits reads a key's fingerprint, or its beginning, as people paste it.
func fingerprintDigits(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	d := strings.ToLower(strings.NewReplacer(":", "", " ", "", "…", "").Replace(strings.TrimPrefix(strings.TrimSpace(s), "sha256:")))
	if len(d) < minFingerprint || len(d) > 64 || strings.Trim(d, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%w: %q is no fingerprint of a key: give the 64 hexadecimal digits that the machine prints, or the first %d at least", catalog.ErrInvalid, s, minFingerprint)
	}
	return d, nil
}

// acceptTx accepts the machine called name, unless another member has come to
// stand in its place since it knocked.
func (a *Admission) acceptTx(tx *catalog.Tx, name, by string, labels []string) (catalog.Member, error) {
	m, err := command.LabelMember(tx, name, labels)
	if err != nil {
		return m, err
	}
	h := Hello{Name: m.Name, Addr: m.Addr, Gossip: m.Gossip, Catalog: m.Catalog, Role: m.Role, Runtimes: m.Runtimes}
	if r := conflict(tx.View(), h, m.Fingerprint); r != nil {
		return m, fmt.Errorf("%w: %w", catalog.ErrConflict, r)
	}
	now := a.o.now().UTC()
	return command.AcceptMember(tx, name, by, now, func(csr []byte, m catalog.Member) ([]byte, error) {
		return a.o.Authority.SignMember(csr, m, now)
	})
}

// Refuse turns a pending machine away. It is remembered for a week, so that it
// does not come back on the list with its next knock.
func (a *Admission) Refuse(ctx context.Context, name, reason, by string) error {
	_, err := a.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		_, err := command.RefuseMember(tx, name, clean(reason), by, a.o.now())
		return err
	})
	if err != nil {
		return fmt.Errorf("refuse member %q: %w", name, err)
	}
	a.log.Info("member refused", "member", name, "by", by)
	return nil
}

// Revoke takes an acceptance back: from the moment it returns the member's
// certificate opens nothing at this proxy, its instances are gone from the
// catalog, and the cluster has a new gossip key, which the others fetch.
func (a *Admission) Revoke(ctx context.Context, name, reason, by string) error {
	if name == a.o.Name {
		return fmt.Errorf("revoke member %q: %w: it is the proxy that was asked, ask another one", name, catalog.ErrConflict)
	}
	key, err := newKey()
	if err != nil {
		return fmt.Errorf("revoke member %q: %w", name, err)
	}
	_, err = a.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		m, err := command.RevokeMember(tx, name, clean(reason), by, a.o.now())
		if err == nil && a.o.Revoking != nil {
			err = a.o.Revoking(tx, m)
		}
		if err != nil {
			return err
		}
		return command.RotateGossipKey(tx, key)
	})
	if err != nil {
		return fmt.Errorf("revoke member %q: %w", name, err)
	}
	a.log.Info("member revoked", "member", name, "by", by, "reason", clean(reason))
	if a.o.Forget != nil {
		a.o.Forget(name)
	}
	return nil
}

// clean makes a text fit to be kept and shown.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return strings.TrimSpace(s)
}

// Invited is a new invite. Code is shown once and kept nowhere.
type Invited struct {
	Code    string
	ID      string
	Role    catalog.Role
	Expires time.Time
	Labels  []string
}

// Invite makes a code that accepts one machine of a role without an operator,
// within ttl. An application server that comes with it gets the labels.
func (a *Admission) Invite(ctx context.Context, role catalog.Role, ttl time.Duration, by string, labels ...string) (Invited, error) {
	now := a.o.now()
	i, code, err := command.NewInvite(role, ttl, by, now, labels...)
	if err == nil {
		_, err = a.o.Catalog.Update(ctx, func(tx *catalog.Tx) error { return command.CreateInvite(tx, i, now) })
	}
	if err != nil {
		return Invited{}, fmt.Errorf("make invite: %w", err)
	}
	return Invited{Code: code, ID: i.ID, Role: role, Expires: i.Expires, Labels: i.Labels}, nil
}

// Run does what is due with time: it hands the gossip keys to this proxy and
// ends the grace of former ones, and takes machines that have given up off the
// list. It returns when ctx ends.
func (a *Admission) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { a.followKeys(ctx) })
	wg.Go(func() { a.sweepRegularly(ctx) })
	wg.Wait()
}

func (a *Admission) sweepRegularly(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := a.sweep(ctx, a.o.now()); err != nil && ctx.Err() == nil {
				a.log.Warn("tidy the list of machines that knocked", "error", err)
			}
		}
	}
}

// sweep deletes pending machines that knock no more and old refusals.
func (a *Admission) sweep(ctx context.Context, now time.Time) error {
	stale := func(m *catalog.Member, refused int) bool {
		switch m.Admission {
		case catalog.Pending:
			return now.Sub(a.seen.last(m.Fingerprint)) > pendingLife && now.Sub(m.Knocked) > pendingLife
		case catalog.Refused:
			return now.Sub(m.Decided) > refusedLife || refused > maxRefused
		}
		return false
	}
	var names []string
	refused := 0
	for name, m := range a.o.Catalog.View().Members {
		if m.Admission == catalog.Refused {
			refused++
		}
		if stale(m, refused) {
			names = append(names, name)
		}
	}
	a.seen.trim(now)
	if len(names) == 0 {
		return nil
	}
	_, err := a.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		for _, name := range names {
			m, err := tx.Member(name)
			if err == nil && (m.Admission == catalog.Pending || m.Admission == catalog.Refused) {
				tx.DeleteMember(name)
			}
		}
		return nil
	})
	return err
}
