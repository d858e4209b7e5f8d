package membership

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

// lasts reports whether more than a third of a certificate's life is left.
func lasts(der []byte, now time.Time) bool {
	c, err := x509.ParseCertificate(der)
	return err == nil && c.NotAfter.Sub(now) > c.NotAfter.Sub(c.NotBefore)/3
}

// reissue signs a certificate anew for an accepted member, and lets change
// alter the record.
func (a *Admission) reissue(ctx context.Context, name string, csr []byte, now time.Time, change func(*catalog.Member)) (catalog.Member, error) {
	var m catalog.Member
	_, err := a.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		var err error
		if m, err = tx.Member(name); err != nil {
			return err
		}
		if change != nil {
			change(&m)
		}
		if len(csr) > 0 {
			if m.Certificate, err = a.o.Authority.SignMember(csr, m, now); err != nil {
				return err
			}
			m.CSR = csr
		}
		return tx.PutMember(m)
	})
	return m, err
}

// serveRenew takes news from an accepted member and renews its certificate.
func (a *Admission) serveRenew(w http.ResponseWriter, r *http.Request) {
	m, ok := a.member(w, r)
	if !ok {
		return
	}
	var in Renewal
	if err := readJSON(w, r, maxKnock, &in); err != nil {
		writeError(w, err)
		return
	}
	answer, err := a.renew(r.Context(), m, in)
	if err != nil {
		a.log.Warn("renewal turned down", "member", m.Name, "error", err)
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func (a *Admission) renew(ctx context.Context, m catalog.Member, in Renewal) (Acceptance, error) {
	// Name, role and key are what was accepted; the rest may change.
	in.Name, in.Role, in.ID = m.Name, m.Role, m.ID
	if in.Version != "" {
		known := a.rules
		known.accepted = true
		if r := checkHello(in.Hello, known); r != nil {
			return Acceptance{}, r
		}
		if r := conflict(a.o.Catalog.View(), in.Hello, m.Fingerprint); r != nil {
			return Acceptance{}, r
		}
	}
	if len(in.CSR) > 0 {
		switch fingerprint, err := keyOf(in.CSR); {
		case err != nil:
			return Acceptance{}, refuse(http.StatusBadRequest, CodeInvalid, "", "%v", err)
		case fingerprint != m.Fingerprint:
			return Acceptance{}, refuse(http.StatusForbidden, CodeKeyTaken, "a new key has to knock and be accepted", "the request is for another key than the one that was accepted")
		}
	}
	updated := m
	change := func(m *catalog.Member) {
		if in.Version == "" {
			return
		}
		m.Addr, m.Gossip, m.Catalog, m.Version, m.Platform = in.Addr, in.Gossip, in.Catalog, in.Version, in.Platform
		m.Runtimes, m.Zone, m.Weight = in.Runtimes, in.Zone, in.Weight
	}
	change(&updated)
	if len(in.CSR) == 0 && sameHello(m, updated) {
		return a.acceptance(nil), nil
	}
	n, err := a.reissue(ctx, m.Name, in.CSR, a.o.now().UTC(), change)
	if err != nil {
		return Acceptance{}, err
	}
	if len(in.CSR) == 0 {
		return a.acceptance(nil), nil
	}
	return a.acceptance(n.Certificate), nil
}

// member returns the accepted member that made a request, or answers 403.
func (a *Admission) member(w http.ResponseWriter, r *http.Request) (catalog.Member, bool) {
	if a.o.Member != nil {
		if m, ok := a.o.Member(r); ok && m.Admission == catalog.Accepted {
			return m, true
		}
	}
	writeError(w, refuse(http.StatusForbidden, CodeNotMember, "", "this is for accepted members only"))
	return catalog.Member{}, false
}

// serveKeys answers with the gossip keys, when asked so once they differ from
// what the member has. Whoever is revoked while waiting gets nothing.
func (a *Admission) serveKeys(w http.ResponseWriter, r *http.Request) {
	m, ok := a.member(w, r)
	if !ok {
		return
	}
	have := r.URL.Query().Get("have")
	seconds, _ := strconv.Atoi(r.URL.Query().Get("wait"))
	wait := time.Duration(min(max(seconds, 0), 45)) * time.Second
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + 10*time.Second))
	keys, err := a.awaitKeys(r.Context(), have, wait)
	if err != nil {
		if r.Context().Err() == nil {
			a.log.Warn("gossip keys not handed out", "member", m.Name, "error", err)
		}
		writeError(w, err)
		return
	}
	if _, ok := a.member(w, r); ok {
		writeJSON(w, http.StatusOK, Keys{Keys: keys, Sum: KeySum(keys)})
	}
}

func (a *Admission) awaitKeys(ctx context.Context, have string, wait time.Duration) ([][]byte, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	changed, cancel := a.o.Catalog.Subscribe()
	defer cancel()
	for {
		keys, err := a.GossipKeys(ctx)
		if err != nil {
			return nil, err
		}
		if KeySum(keys) != have {
			return keys, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return keys, nil
		case <-a.closed.Done():
			return keys, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// KeySum returns a sum over gossip keys, by which both sides see whether they
// have the same ones in the same order.
func KeySum(keys [][]byte) string {
	h := sha256.New()
	h.Write([]byte("portico gossip keys"))
	for _, k := range keys {
		h.Write([]byte{byte(len(k))})
		h.Write(k)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func newKey() ([]byte, error) {
	key := make([]byte, KeyLen)
	_, err := rand.Read(key)
	return key, err
}

// GossipKeys returns the cluster's gossip keys, the primary first. The first
// call in a new cluster makes one.
func (a *Admission) GossipKeys(ctx context.Context) ([][]byte, error) {
	keys, err := command.GossipKeys(a.o.Catalog)
	if err == nil && len(keys) == 0 {
		keys, err = a.firstKey(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("read gossip keys: %w", err)
	}
	return keys, nil
}

func (a *Admission) firstKey(ctx context.Context) ([][]byte, error) {
	_, err := a.o.Catalog.Update(ctx, func(tx *catalog.Tx) error { return sharedKeys(tx, a.o.now()) })
	if err != nil {
		return nil, err
	}
	return command.GossipKeys(a.o.Catalog)
}

// RotateKeys gives the cluster a new gossip key, as Revoke does.
func (a *Admission) RotateKeys(ctx context.Context) error {
	key, err := newKey()
	if err == nil {
		_, err = a.o.Catalog.Update(ctx, func(tx *catalog.Tx) error { return command.RotateGossipKey(tx, key) })
	}
	if err != nil {
		return fmt.Errorf("rotate gossip key: %w", err)
	}
	return nil
}

// followKeys hands every change of the keys to this proxy's gossip, and drops
// former keys from the catalog when their grace is over.
func (a *Admission) followKeys(ctx context.Context) {
	changed, cancel := a.o.Catalog.Subscribe()
	defer cancel()
	grace := time.NewTimer(keyGrace)
	grace.Stop()
	sum := ""
	for {
		keys, err := a.GossipKeys(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			a.log.Warn("gossip keys not read", "error", err)
		case err == nil && KeySum(keys) != sum:
			sum = KeySum(keys)
			if a.o.SetKeys != nil {
				if err := a.o.SetKeys(keys); err != nil {
					a.log.Warn("gossip keys not set", "error", err)
				}
			}
			if len(keys) > 1 {
				grace.Reset(keyGrace)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-grace.C:
			if err := a.dropFormerKeys(ctx, sum); err != nil && ctx.Err() == nil {
				a.log.Warn("former gossip keys not dropped", "error", err)
				grace.Reset(keyGrace)
			}
		}
	}
}

// dropFormerKeys leaves the primary key only, unless the keys have changed.
func (a *Admission) dropFormerKeys(ctx context.Context, sum string) error {
	_, err := a.o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		var keys [][]byte
		stored, err := tx.Secret(command.SecretGossip)
		if err == nil {
			err = json.Unmarshal(stored, &keys)
		}
		if err != nil || KeySum(keys) != sum {
			return err
		}
		return command.DropGossipKeys(tx)
	})
	return err
}
