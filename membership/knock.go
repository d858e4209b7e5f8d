package membership

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/membership/catalog/ids"
)

// serveKnock answers a machine that wants in. It has no credentials, so every
// step is bounded: requests by address, bytes, time, signatures at a time,
// entries on the list, answers held back.
func (a *Admission) serveKnock(w http.ResponseWriter, r *http.Request) {
	from := remote(r)
	if !a.knocks.allow(from, a.o.now()) {
		w.Header().Set("Connection", "close")
		writeError(w, &Refusal{Status: http.StatusTooManyRequests, Code: CodeRate, Message: "too many knocks from this address", retry: 2 * time.Second})
		return
	}
	k, err := readKnock(w, r)
	if err != nil {
		writeError(w, err)
		return
	}
	d, fingerprint, err := a.knock(r.Context(), k)
	if err != nil {
		if r.Context().Err() == nil {
			a.log.Warn("knock not recorded", "from", from.String(), "error", err)
		}
		writeError(w, err)
		return
	}
	if d.pending != nil && d.refusal == nil && k.Wait > 0 {
		d = a.hold(r.Context(), w, k, fingerprint, d)
	}
	a.answer(w, from, k, fingerprint, d)
}

// answer writes the outcome of a knock.
func (a *Admission) answer(w http.ResponseWriter, from netip.Addr, k Knock, fingerprint string, d decision) {
	switch {
	case d.refusal != nil:
		if fresh := a.turned.add(Turned{At: a.o.now().UTC(), From: from.String(), Name: k.Name, Fingerprint: fingerprint, Code: d.refusal.Code, Reason: d.refusal.Message}); fresh {
			a.log.Warn("machine turned away", "from", from.String(), "member", k.Name, "key", fingerprint, "code", d.refusal.Code, "reason", d.refusal.Message)
			a.rival(from, k, fingerprint, d.refusal)
		}
		writeError(w, d.refusal)
	case d.accepted != nil:
		acceptance := a.acceptance(d.accepted.Certificate)
		writeJSON(w, http.StatusOK, KnockAnswer{State: catalog.Accepted, Fingerprint: fingerprint, Acceptance: &acceptance})
	default:
		writeJSON(w, http.StatusAccepted, KnockAnswer{State: catalog.Pending, Fingerprint: fingerprint, RetryAfter: 2})
	}
}

// rival keeps an attempt on a member's name, or with a copy of a member's key,
// where operators look: at the member, and in the audit log. Anybody can make
// such attempts, so few are written.
func (a *Admission) rival(from netip.Addr, k Knock, fingerprint string, r *Refusal) {
	if r.Code != CodeNameTaken && r.Code != CodeKeyTaken || !a.audits.allow(netip.IPv6Unspecified(), a.o.now()) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // the client may be gone
	defer cancel()
	now := a.o.now().UTC()
	_, err := a.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		if r.Code == CodeNameTaken {
			if err := command.NoteRival(tx, k.Name, fingerprint, now); err != nil {
				return err
			}
		}
		return tx.Audit(catalog.AuditEntry{
			ID: ids.New(now), At: now, By: "portico", From: from.String(), Action: "turn machine away",
			Object: k.Name, Detail: clean("key " + fingerprint[:16] + "…: " + r.Message), Failed: true,
		})
	})
	if err != nil {
		a.log.Warn("attempt on a member's name not written down", "error", err)
	}
}

// readKnock reads the body under a limit and a deadline.
func readKnock(w http.ResponseWriter, r *http.Request) (Knock, error) {
	var k Knock
	if err := readJSON(w, r, maxKnock, &k); err != nil {
		return k, err
	}
	k.Wait = min(max(k.Wait, 0), int(maxHold/time.Second))
	return k, nil
}

func readJSON(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	bad := func(status int, format string, args ...any) error {
		return refuse(status, CodeInvalid, "", format, args...)
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return bad(http.StatusUnsupportedMediaType, "the body must be application/json")
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(10 * time.Second)) // not every writer has one
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	_ = control.SetReadDeadline(time.Time{})
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return bad(http.StatusRequestEntityTooLarge, "the body is longer than %d bytes", limit)
	case err != nil:
		return bad(http.StatusBadRequest, "the body did not arrive")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return bad(http.StatusBadRequest, "the body is not the expected JSON")
	}
	return nil
}

// knock decides about k and records the decision. The error is one of the
// store, or a Refusal of what is malformed.
func (a *Admission) knock(ctx context.Context, k Knock) (decision, string, error) {
	select {
	case a.working <- struct{}{}:
		defer func() { <-a.working }()
	case <-ctx.Done():
		return decision{}, "", ctx.Err()
	}
	fingerprint, err := keyOf(k.CSR)
	if err != nil {
		return decision{}, "", refuse(http.StatusBadRequest, CodeInvalid, "", "%v", err)
	}
	now := a.o.now().UTC()
	d := admit(a.o.Catalog.View(), a.rules, k, fingerprint, now)
	if d.pending != nil {
		a.seen.mark(fingerprint, now)
	}
	switch {
	case d.refusal != nil && d.refusal.Code == CodeRevoked:
		return d, fingerprint, a.keepRequest(ctx, k, fingerprint)
	case d.refusal != nil:
		return d, fingerprint, nil
	case d.accepted != nil:
		d, err = a.current(ctx, d, k, now)
	case d.invited || d.changed:
		d, err = a.write(ctx, k, fingerprint, now)
	}
	return d, fingerprint, err
}

// keepRequest keeps what a revoked machine asks to be signed, once, so that an operator who changes
// her mind can accept it.
func (a *Admission) keepRequest(ctx context.Context, k Knock, fingerprint string) error {
	lacks := func(m *catalog.Member) bool {
		return m != nil && m.Fingerprint == fingerprint && m.Admission == catalog.Revoked && m.Role == catalog.RoleServer && m.CSR == nil
	}
	if !lacks(a.o.Catalog.View().Members[k.Name]) {
		return nil
	}
	_, err := a.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		m, err := tx.Member(k.Name)
		if err != nil || !lacks(&m) {
			return nil // it is forgotten by now
		}
		m.CSR = k.CSR
		return tx.PutMember(m)
	})
	return err
}

// write decides again on what a transaction reads, and writes the outcome.
func (a *Admission) write(ctx context.Context, k Knock, fingerprint string, now time.Time) (decision, error) {
	var d decision
	_, err := a.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		_ = tx.Members() // the decision rests on all of them
		d = admit(tx.View(), a.rules, k, fingerprint, now)
		switch {
		case d.refusal != nil || d.accepted != nil:
			return nil
		case d.invited:
			return a.useInvite(tx, &d, k, now)
		case d.changed:
			return tx.PutMember(*d.pending)
		}
		return nil
	})
	var refused *Refusal
	if errors.As(err, &refused) { // and the invite is still good
		return decision{refusal: refused}, nil
	}
	if err != nil {
		return decision{}, err
	}
	switch {
	case d.accepted != nil && d.invited:
		a.log.Info("member accepted", "member", k.Name, "key", fingerprint, "by", d.accepted.By)
	case d.changed:
		a.log.Info("machine waits to be accepted", "member", k.Name, "addr", k.Addr, "key", fingerprint)
	}
	return d, nil
}

// useInvite spends an invite and accepts the machine, in one step.
func (a *Admission) useInvite(tx *catalog.Tx, d *decision, k Knock, now time.Time) error {
	i, err := command.RedeemInvite(tx, k.Code, k.Name, k.Role, now)
	if errors.Is(err, command.ErrInvite) {
		*d = decision{refusal: refuse(http.StatusForbidden, CodeInvite, "ask for a new code, or start without one and wait to be accepted", "%v", err)}
		return nil
	}
	if err != nil {
		return err
	}
	if err := catalog.CheckInvitedName(tx, i, k.Name); err != nil {
		return refuse(http.StatusForbidden, CodeNameTaken, "", "%v", err)
	}
	if err := tx.PutMember(*d.pending); err != nil {
		return err
	}
	by := "invite " + i.ID + " of " + i.By
	m, err := a.acceptTx(tx, k.Name, by, i.Labels)
	if errors.Is(err, catalog.ErrConflict) {
		return refuse(http.StatusForbidden, CodeNameTaken, "", "%v", err)
	}
	if err != nil {
		return err
	}
	d.accepted = &m
	return tx.Audit(catalog.AuditEntry{ID: ids.New(now), At: now, By: by, Action: "accept member", Object: k.Name})
}

// current makes sure that an accepted member gets a certificate that lasts: one
// that slept for months knocks again, with the key that it was accepted with.
func (a *Admission) current(ctx context.Context, d decision, k Knock, now time.Time) (decision, error) {
	if lasts(d.accepted.Certificate, now) {
		return d, nil
	}
	m, err := a.reissue(ctx, d.accepted.Name, k.CSR, now, nil)
	if err != nil {
		return decision{}, err
	}
	return decision{accepted: &m}, nil
}

// hold keeps a pending answer back until somebody decides or the wait is over.
// Each key has one held answer at most; a new knock lets the older one go.
func (a *Admission) hold(ctx context.Context, w http.ResponseWriter, k Knock, fingerprint string, d decision) decision {
	released, ok, done := a.longPolls.enter(fingerprint)
	if !ok {
		return d
	}
	defer done()
	wait := time.Duration(k.Wait) * time.Second
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + 10*time.Second))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	changed, cancel := a.o.Catalog.Subscribe()
	defer cancel()
	for {
		now := a.o.now().UTC()
		if next := admit(a.o.Catalog.View(), a.rules, k, fingerprint, now); next.pending == nil || next.refusal != nil {
			return next
		}
		select {
		case <-changed:
		case <-timer.C:
			return d
		case <-a.closed.Done():
			return d
		case <-released:
			return d
		case <-ctx.Done():
			return d
		}
	}
}

// acceptance puts together what an accepted member gets.
func (a *Admission) acceptance(certificate []byte) Acceptance {
	v := a.o.Catalog.View()
	return Acceptance{Certificate: certificate, CA: a.o.Authority.Certificate(), Cluster: v.ClusterID, Seeds: Seeds(v), Settings: v.Settings}
}

// Seeds returns the gossip addresses of the accepted proxies, by name.
func Seeds(v *catalog.View) []string {
	var seeds []string
	for _, name := range sortedNames(v.Members) {
		if m := v.Members[name]; m.Role == catalog.RoleProxy && m.Admission == catalog.Accepted && m.Gossip != "" {
			seeds = append(seeds, m.Gossip)
		}
	}
	return seeds
}

// remote returns the address that a request came from.
func remote(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// seen is when machines that wait knocked last, by key. It is not worth a write
// to the catalog.
type seen struct {
	mu      sync.Mutex
	started time.Time // stands for those not seen since this process began
	at      map[string]time.Time
}

func (s *seen) mark(fingerprint string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.at) < 10*maxPending {
		s.at[fingerprint] = now
	}
}

func (s *seen) last(fingerprint string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.at[fingerprint]; ok {
		return t
	}
	return s.started
}

func (s *seen) trim(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f, t := range s.at {
		if now.Sub(t) > pendingLife {
			delete(s.at, f)
		}
	}
}

// longPolls are the requests whose answer is held back, by key.
type longPolls struct {
	mu    sync.Mutex
	byKey map[string]chan struct{}
}

// enter registers an answer; released is closed when a newer one of the same
// key came. ok is false when too many are held.
func (p *longPolls) enter(fingerprint string) (released <-chan struct{}, ok bool, done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if older, there := p.byKey[fingerprint]; there {
		close(older)
	} else if len(p.byKey) >= maxPending {
		return nil, false, nil
	}
	mine := make(chan struct{})
	p.byKey[fingerprint] = mine
	return mine, true, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.byKey[fingerprint] == mine {
			delete(p.byKey, fingerprint)
		}
	}
}

// Turned is a machine whose knock was refused, for operators to see.
type Turned struct {
	At          time.Time `json:"at"` // the last time
	From        string    `json:"from"`
	Name        string    `json:"name"`
	Fingerprint string    `json:"fingerprint"`
	Code        string    `json:"code"`
	Reason      string    `json:"reason"`
	Times       int       `json:"times"`
}

// turned keeps the last machines that were turned away.
type turned struct {
	mu   sync.Mutex
	list []Turned
}

const maxTurned = 100

// add remembers t and reports whether it is news.
func (t *turned) add(n Turned) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.Name, n.Reason = clean(n.Name), clean(n.Reason)
	for i, old := range t.list {
		if old.Name == n.Name && old.Fingerprint == n.Fingerprint && old.Code == n.Code {
			n.Times = old.Times + 1
			t.list = append(slices.Delete(t.list, i, i+1), n)
			return false
		}
	}
	n.Times = 1
	t.list = append(t.list, n)
	if len(t.list) > maxTurned {
		t.list = slices.Delete(t.list, 0, 1)
	}
	return true
}

// TurnedAway returns the machines that this proxy turned away lately, the
// latest first: another key under a member's name is among them.
func (a *Admission) TurnedAway() []Turned {
	a.turned.mu.Lock()
	defer a.turned.mu.Unlock()
	out := slices.Clone(a.turned.list)
	slices.Reverse(out)
	return out
}
