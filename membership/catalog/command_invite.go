package catalog

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Bounds of invitations.
const (
	MaxInviteLife  = 7 * 24 * time.Hour
	maxInvites     = 1000               // that are neither used nor expired
	inviteMemory   = 7 * 24 * time.Hour // how long a used or expired one stays on show
	inviteIDLength = 26
)

// ErrInvite reports a code that opens nothing: unknown, used or expired. Which of
// these is not said, so that guessing teaches nothing.
var ErrInvite = errors.New("the invitation is wrong, used or expired")

// NewInvite makes an invitation and its code, which is shown once and never
// stored. Store the invitation with CreateInvite. An application server that comes with
// it gets the labels.
func NewInvite(role Role, ttl time.Duration, by string, now time.Time, labels ...string) (i Invite, code string, err error) {
	if role != RoleServer && role != RoleProxy {
		return Invite{}, "", fmt.Errorf("%w: role %.40q; it is %q or %q", ErrInvalid, role, RoleServer, RoleProxy)
	}
	if ttl <= 0 || ttl > MaxInviteLife {
		return Invite{}, "", fmt.Errorf("%w: an invitation lives up to %s, not %s", ErrInvalid, MaxInviteLife, ttl)
	}
	if role != RoleServer && len(labels) > 0 {
		return Invite{}, "", fmt.Errorf("%w: labels place sites on application servers, and this is an invitation of a proxy", ErrInvalid)
	}
	if labels, err = validLabels(labels); err != nil {
		return Invite{}, "", err
	}
	secret := NewInstanceID()
	hash := sha256.Sum256([]byte(secret))
	i = Invite{ID: NewID(now), Hash: hash[:], Role: role, Expires: now.Add(ttl).UTC(), By: by, Created: now.UTC(), Labels: labels}
	return i, i.ID + "." + secret, nil
}

// CreateInvite stores an invitation, and forgets those that ended a week ago.
func CreateInvite(tx *Tx, i Invite, now time.Time) error {
	open := 0
	for id, old := range tx.view.Invites {
		switch {
		case now.Sub(old.Expires) > inviteMemory:
			tx.DeleteInvite(id)
		case old.UsedBy == "" && now.Before(old.Expires):
			open++
		}
	}
	if open >= maxInvites {
		return fmt.Errorf("%w: %d invitations are open, delete some first", ErrConflict, open)
	}
	return tx.PutInvite(i)
}

// RedeemInvite uses an invitation's code up for a member, or returns ErrInvite.
// It takes the same time whether the code is wrong, used or unknown.
func RedeemInvite(tx *Tx, code, member string, role Role, now time.Time) (Invite, error) {
	id, secret, _ := strings.Cut(strings.TrimSpace(code), ".")
	if len(id) != inviteIDLength || validID("invite", id) != nil {
		id = strings.Repeat("0", inviteIDLength)
	}
	i, err := tx.Invite(id)
	if err != nil {
		i = Invite{Hash: make([]byte, sha256.Size)}
	}
	hash := sha256.Sum256([]byte(secret))
	right := subtle.ConstantTimeCompare(hash[:], i.Hash) == 1
	if err != nil || !right || i.UsedBy != "" || !now.Before(i.Expires) {
		return Invite{}, ErrInvite
	}
	if i.Role != role {
		return Invite{}, fmt.Errorf("%w: it was made for role %q, this machine is %q", ErrInvite, i.Role, role)
	}
	i.UsedBy, i.UsedAt = member, now.UTC()
	return i, tx.PutInvite(i)
}
