package command

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

// rivalFresh is how often another key with a taken name is written down.
const rivalFresh = time.Minute

// NoteRival keeps at a member, for operators to see, that another key knocked
// with its name and was turned away. A name that nobody has is no error.
func NoteRival(tx *catalog.Tx, name, fingerprint string, now time.Time) error {
	if err := ids.ValidDigest(fingerprint); err != nil {
		return fmt.Errorf("%w: key fingerprint %.70q", catalog.ErrInvalid, fingerprint)
	}
	m, err := tx.Member(name)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return nil
	case err != nil:
		return err
	case m.Fingerprint == fingerprint || now.Sub(m.RivalAt) <= rivalFresh:
		return nil
	}
	m.Rival, m.RivalAt = fingerprint, now.UTC()
	return tx.PutMember(m)
}

// AcceptMember lets a pending or refused machine in. Sign issues its certificate
// for the request that it knocked with; it gets the record as it will be.
func AcceptMember(tx *catalog.Tx, name, by string, now time.Time, sign func(csr []byte, m catalog.Member) ([]byte, error)) (catalog.Member, error) {
	m, err := tx.Member(name)
	if err != nil {
		return catalog.Member{}, err
	}
	switch {
	case m.Admission == catalog.Revoked && m.Role != catalog.RoleServer:
		return catalog.Member{}, fmt.Errorf("%w: member %q is revoked: forget it (portico members forget %s) and let it join anew", catalog.ErrConflict, name, name)
	case m.Admission == catalog.Revoked && m.CSR == nil:
		return catalog.Member{}, fmt.Errorf("%w: member %q has not asked since it was revoked: start its agent, which asks every ten seconds, and accept it then", catalog.ErrConflict, name)
	case m.Admission != catalog.Pending && m.Admission != catalog.Refused && m.Admission != catalog.Revoked:
		return catalog.Member{}, fmt.Errorf("%w: member %q is %s, only a pending, refused or revoked one can be accepted", catalog.ErrConflict, name, m.Admission)
	}
	if err := checkNameIsNoLabel(tx, m); err != nil {
		return catalog.Member{}, err
	}
	m.Admission, m.By, m.Decided, m.Reason = catalog.Accepted, by, now.UTC(), ""
	m.Admin = cmp.Or(m.Admin, catalog.AdminReady)
	if m.Certificate, err = sign(m.CSR, m); err != nil {
		return catalog.Member{}, fmt.Errorf("accept member %q: %w", name, err)
	}
	m.CSR = nil
	return m, tx.PutMember(m)
}

// RefuseMember turns a pending machine away. It stays refused, with its reason on
// show, until an operator accepts it or removes the record.
func RefuseMember(tx *catalog.Tx, name, reason, by string, now time.Time) (catalog.Member, error) {
	m, err := tx.Member(name)
	if err != nil {
		return catalog.Member{}, err
	}
	if m.Admission != catalog.Pending {
		return catalog.Member{}, fmt.Errorf("%w: member %q is %s; only a pending one can be refused, an accepted one is revoked", catalog.ErrConflict, name, m.Admission)
	}
	m.Admission, m.Reason, m.By, m.Decided = catalog.Refused, trim(reason, 500), by, now.UTC()
	return m, tx.PutMember(m)
}

// RevokeMember shuts an accepted member out at once: its certificate opens
// nothing any more and its instances are gone. Who calls it also gives the
// remaining members a new gossip key, see RotateGossipKey.
func RevokeMember(tx *catalog.Tx, name, reason, by string, now time.Time) (catalog.Member, error) {
	m, err := tx.Member(name)
	if err != nil {
		return catalog.Member{}, err
	}
	if m.Admission != catalog.Accepted {
		return catalog.Member{}, fmt.Errorf("%w: member %q is %s, only an accepted one can be revoked", catalog.ErrConflict, name, m.Admission)
	}
	m.Admission, m.Reason, m.By, m.Decided = catalog.Revoked, trim(reason, 500), by, now.UTC()
	m.Certificate, m.CSR = nil, nil
	dropInstances(tx, name)
	if m.Role == catalog.RoleProxy {
		dropLocalToken(tx, name)
	}
	return m, tx.PutMember(m)
}

// RemoveMember forgets a machine that is not accepted, and the decision about it.
func RemoveMember(tx *catalog.Tx, name string) error {
	m, err := tx.Member(name)
	if err != nil {
		return err
	}
	if m.Admission == catalog.Accepted {
		return fmt.Errorf("%w: member %q is accepted: revoke it first", catalog.ErrConflict, name)
	}
	dropInstances(tx, name)
	tx.DeleteMember(name)
	tx.DeleteReserved(name)
	return nil
}

// EnrolProxy writes the record of the proxy that holds the catalog: it is
// accepted by being there. What m says about the machine replaces what was
// written at its last start; decisions of operators stay.
func EnrolProxy(tx *catalog.Tx, m catalog.Member, now time.Time) (catalog.Member, error) {
	old, err := tx.Member(m.Name)
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return catalog.Member{}, err
	}
	if err == nil && old.Admission == catalog.Accepted && old.Role != catalog.RoleProxy {
		return catalog.Member{}, fmt.Errorf("%w: %q is the name of an application server; start this proxy with another --name", catalog.ErrConflict, m.Name)
	}
	if err == nil && old.Admission == catalog.Revoked {
		return catalog.Member{}, fmt.Errorf("%w: proxy %q was revoked by %s: portico members forget %s at another proxy lets it in again", catalog.ErrConflict, m.Name, old.By, m.Name)
	}
	if err == nil && (old.Admission == catalog.Revoked || old.Admission == catalog.Refused) {
		return catalog.Member{}, fmt.Errorf("%w: proxy %q was %s%s", catalog.ErrConflict, m.Name, old.Admission, reasonOf(old))
	}
	m.Role, m.Admission = catalog.RoleProxy, catalog.Accepted
	m.Admin = cmp.Or(old.Admin, catalog.AdminReady)
	m.Knocked, m.Decided, m.By = now.UTC(), now.UTC(), "portico"
	if err == nil && old.Admission == catalog.Accepted {
		m.Knocked, m.Decided, m.By = old.Knocked, old.Decided, old.By
	}
	return m, tx.PutMember(m)
}

func reasonOf(m catalog.Member) string {
	if m.Reason == "" {
		return ""
	}
	return ": " + m.Reason
}

// SetMemberAdmin sets what operators want of an accepted member: ready, drain or
// maint.
func SetMemberAdmin(tx *catalog.Tx, name string, state catalog.AdminState) (catalog.Member, error) {
	if state != catalog.AdminReady && state != catalog.AdminDrain && state != catalog.AdminMaint {
		return catalog.Member{}, fmt.Errorf("%w: state %.40q; it is ready, drain or maint", catalog.ErrInvalid, state)
	}
	m, err := acceptedMember(tx, name)
	if err != nil {
		return catalog.Member{}, err
	}
	m.Admin, m.Drain, m.Overdue = state, nil, false
	return m, tx.PutMember(m)
}

func acceptedMember(tx *catalog.Tx, name string) (catalog.Member, error) {
	m, err := tx.Member(name)
	if err == nil && m.Admission != catalog.Accepted {
		err = fmt.Errorf("%w: member %q is %s, not accepted", catalog.ErrConflict, name, m.Admission)
	}
	return m, err
}

// dropInstances removes the records of a member's instances.
func dropInstances(tx *catalog.Tx, member string) {
	for id, in := range tx.View().Instances {
		if in.Member == member {
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
