package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Bounds on what machines without any credential can make the catalog hold.
const (
	MaxPending   = 100              // machines that wait for a decision
	pendingStale = time.Hour        // one that has not knocked for so long gives way when all places are taken
	knockFresh   = 10 * time.Minute // how exact Knocked is kept while a machine goes on knocking
	rivalFresh   = time.Minute      // how often another key with a taken name is written down
)

// ErrFull reports that too many machines wait for a decision already.
var ErrFull = errors.New("too many machines are waiting to be accepted")

// Knock notes that a machine wants in, or that it still does, and returns its
// record as it stands: pending, or what was decided about it. Of m, what the machine
// says about itself is taken: name, id, role, key, addresses, versions, runtimes, zone, CSR.
//
// The name belongs to the key that came first. Another key with it gets
// ErrConflict, and is shown at the member, unless the first was refused or revoked: then the
// newcomer waits for a decision of its own.
func Knock(tx *Tx, m Member, now time.Time) (Member, error) {
	if err := ValidName("member", m.Name); err != nil {
		return Member{}, err
	}
	if m.Role != RoleServer && m.Role != RoleProxy {
		return Member{}, fmt.Errorf("%w: role %.40q; it is %q or %q", ErrInvalid, m.Role, RoleServer, RoleProxy)
	}
	if err := ValidDigest(m.Fingerprint); err != nil {
		return Member{}, fmt.Errorf("%w: key fingerprint %.70q", ErrInvalid, m.Fingerprint)
	}
	old, err := tx.Member(m.Name)
	known := err == nil
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Member{}, err
	}
	if known && old.Fingerprint != m.Fingerprint {
		if old.Admission == Pending || old.Admission == Accepted {
			return noteRival(tx, old, m.Fingerprint, now)
		}
		known = false
	}
	next := old
	if !known {
		if err := makeRoom(tx, now); err != nil {
			return Member{}, err
		}
		next = Member{Name: m.Name, Role: m.Role, Fingerprint: m.Fingerprint, Admission: Pending, Admin: AdminReady, Knocked: now.UTC()}
	}
	if next.Admission == Refused || next.Admission == Revoked {
		return next, nil
	}
	next.ID, next.Addr, next.Gossip, next.Zone = m.ID, m.Addr, m.Gossip, m.Zone
	next.Version, next.Platform, next.Runtimes = m.Version, m.Platform, m.Runtimes
	if next.Admission == Pending {
		next.Role, next.CSR = m.Role, m.CSR
		if now.Sub(next.Knocked) > knockFresh {
			next.Knocked = now.UTC()
		}
	}
	return next, tx.PutMember(next)
}

// noteRival shows operators that another key wants a name that is taken. It is
// the caller who must let the change commit in spite of the error: see KnockError.
func noteRival(tx *Tx, m Member, fingerprint string, now time.Time) (Member, error) {
	if now.Sub(m.RivalAt) > rivalFresh {
		m.Rival, m.RivalAt = fingerprint, now.UTC()
		if err := tx.PutMember(m); err != nil {
			return Member{}, err
		}
	}
	return Member{}, &KnockError{Name: m.Name, Admission: m.Admission}
}

// KnockError is the ErrConflict of a knock with a name that another key has. The
// transaction should commit all the same, so that operators see the attempt:
//
//	_, err := c.Update(ctx, func(tx *Tx) error {
//		member, refused = Knock(tx, m, now)
//		if errors.As(refused, new(*KnockError)) {
//			return nil
//		}
//		return refused
//	})
type KnockError struct {
	Name      string
	Admission Admission // of the member that has the name
}

// Error says what is wrong and what to do.
func (e *KnockError) Error() string {
	return fmt.Sprintf("the name %q belongs to another key (%s): choose another name, or have an operator refuse or revoke that member first", e.Name, e.Admission)
}

// Unwrap makes errors.Is(err, ErrConflict) hold.
func (e *KnockError) Unwrap() error { return ErrConflict }

// makeRoom keeps the list of pending machines short: the one that has been silent
// longest gives way, if it has been for an hour.
func makeRoom(tx *Tx, now time.Time) error {
	var pending []Member
	for _, m := range tx.Members() {
		if m.Admission == Pending {
			pending = append(pending, m)
		}
	}
	if len(pending) < MaxPending {
		return nil
	}
	oldest := slices.MinFunc(pending, func(a, b Member) int { return a.Knocked.Compare(b.Knocked) })
	if now.Sub(oldest.Knocked) < pendingStale {
		return fmt.Errorf("%w (%d): accept or refuse some of them first", ErrFull, len(pending))
	}
	tx.DeleteMember(oldest.Name)
	return nil
}

// AcceptMember lets a pending or refused machine in. Sign issues its certificate
// for the request that it knocked with; it gets the record as it will be.
func AcceptMember(tx *Tx, name, by string, now time.Time, sign func(csr []byte, m Member) ([]byte, error)) (Member, error) {
	m, err := tx.Member(name)
	if err != nil {
		return Member{}, err
	}
	if m.Admission != Pending && m.Admission != Refused {
		return Member{}, fmt.Errorf("%w: member %q is %s, only a pending or refused one can be accepted", ErrConflict, name, m.Admission)
	}
	m.Admission, m.By, m.Decided, m.Reason = Accepted, by, now.UTC(), ""
	m.Admin = or(m.Admin, AdminReady)
	if m.Certificate, err = sign(m.CSR, m); err != nil {
		return Member{}, fmt.Errorf("accept member %q: %w", name, err)
	}
	m.CSR = nil
	return m, tx.PutMember(m)
}

// RefuseMember turns a pending machine away. It stays refused, with its reason on
// show, until an operator accepts it or removes the record.
func RefuseMember(tx *Tx, name, reason, by string, now time.Time) (Member, error) {
	m, err := tx.Member(name)
	if err != nil {
		return Member{}, err
	}
	if m.Admission != Pending {
		return Member{}, fmt.Errorf("%w: member %q is %s; only a pending one can be refused, an accepted one is revoked", ErrConflict, name, m.Admission)
	}
	m.Admission, m.Reason, m.By, m.Decided = Refused, trim(reason, 500), by, now.UTC()
	return m, tx.PutMember(m)
}

// RevokeMember shuts an accepted member out at once: its certificate opens
// nothing any more and its instances are gone. Who calls it also gives the
// remaining members a new gossip key, see RotateGossipKey.
func RevokeMember(tx *Tx, name, reason, by string, now time.Time) (Member, error) {
	m, err := tx.Member(name)
	if err != nil {
		return Member{}, err
	}
	if m.Admission != Accepted {
		return Member{}, fmt.Errorf("%w: member %q is %s, only an accepted one can be revoked", ErrConflict, name, m.Admission)
	}
	m.Admission, m.Reason, m.By, m.Decided = Revoked, trim(reason, 500), by, now.UTC()
	m.Certificate, m.CSR = nil, nil
	dropInstances(tx, name)
	return m, tx.PutMember(m)
}

// RemoveMember forgets a machine that is not accepted, and the decision about it.
func RemoveMember(tx *Tx, name string) error {
	m, err := tx.Member(name)
	if err != nil {
		return err
	}
	if m.Admission == Accepted {
		return fmt.Errorf("%w: member %q is accepted: revoke it first", ErrConflict, name)
	}
	dropInstances(tx, name)
	tx.DeleteMember(name)
	return nil
}

// RenewMember stores an accepted member's next certificate, which sign issues for
// the request.
func RenewMember(tx *Tx, name string, csr []byte, sign func(csr []byte, m Member) ([]byte, error)) (Member, error) {
	m, err := tx.Member(name)
	if err != nil {
		return Member{}, err
	}
	if m.Admission != Accepted {
		return Member{}, fmt.Errorf("%w: member %q is %s", ErrConflict, name, m.Admission)
	}
	if m.Certificate, err = sign(csr, m); err != nil {
		return Member{}, fmt.Errorf("renew member %q: %w", name, err)
	}
	return m, tx.PutMember(m)
}

// EnrolProxy writes the record of the proxy that holds the catalog: it is
// accepted by being there. What m says about the machine replaces what was
// written at its last start; decisions of operators stay.
func EnrolProxy(tx *Tx, m Member, now time.Time) (Member, error) {
	old, err := tx.Member(m.Name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Member{}, err
	}
	if err == nil && old.Admission == Accepted && old.Role != RoleProxy {
		return Member{}, fmt.Errorf("%w: %q is the name of an application server; start this proxy with another --name", ErrConflict, m.Name)
	}
	m.Role, m.Admission = RoleProxy, Accepted
	m.Admin = or(old.Admin, AdminReady)
	m.Knocked, m.Decided, m.By = now.UTC(), now.UTC(), "portico"
	if err == nil && old.Admission == Accepted {
		m.Knocked, m.Decided, m.By = old.Knocked, old.Decided, old.By
	}
	return m, tx.PutMember(m)
}

// SetMemberAdmin sets what operators want of an accepted member: ready, drain or
// maint.
func SetMemberAdmin(tx *Tx, name string, state AdminState) (Member, error) {
	if state != AdminReady && state != AdminDrain && state != AdminMaint {
		return Member{}, fmt.Errorf("%w: state %.40q; it is ready, drain or maint", ErrInvalid, state)
	}
	m, err := acceptedMember(tx, name)
	if err != nil {
		return Member{}, err
	}
	m.Admin = state
	return m, tx.PutMember(m)
}

// SetMemberWeight sets an accepted member's share of new sessions, 1 to 256; 0 is
// the default of 100.
func SetMemberWeight(tx *Tx, name string, weight int) (Member, error) {
	if weight < 0 || weight > 256 {
		return Member{}, fmt.Errorf("%w: weight %d; it is between 1 and 256, or 0 for the default", ErrInvalid, weight)
	}
	m, err := acceptedMember(tx, name)
	if err != nil {
		return Member{}, err
	}
	m.Weight = weight
	return m, tx.PutMember(m)
}

func acceptedMember(tx *Tx, name string) (Member, error) {
	m, err := tx.Member(name)
	if err == nil && m.Admission != Accepted {
		err = fmt.Errorf("%w: member %q is %s, not accepted", ErrConflict, name, m.Admission)
	}
	return m, err
}

// dropInstances removes the records of a member's instances.
func dropInstances(tx *Tx, member string) {
	for _, id := range slices.Sorted(maps.Keys(tx.view.Instances)) {
		if tx.view.Instances[id].Member == member {
			tx.DeleteInstance(id)
		}
	}
}

// trim cuts text to n bytes at the border of a character.
func trim(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && text[n]&0xc0 == 0x80 {
		n--
	}
	return text[:n]
}
