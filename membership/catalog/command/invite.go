package command

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/ids"
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
func NewInvite(role catalog.Role, ttl time.Duration, by string, now time.Time, labels ...string) (i catalog.Invite, code string, err error) {
	if role != catalog.RoleServer && role != catalog.RoleProxy {
		return catalog.Invite{}, "", fmt.Errorf("%w: role %.40q; it is %q or %q", catalog.ErrInvalid, role, catalog.RoleServer, catalog.RoleProxy)
	}
	if ttl <= 0 || ttl > MaxInviteLife {
		return catalog.Invite{}, "", fmt.Errorf("%w: an invitation lives up to %s, not %s", catalog.ErrInvalid, MaxInviteLife, ttl)
	}
	if role != catalog.RoleServer && len(labels) > 0 {
		return catalog.Invite{}, "", fmt.Errorf("%w: labels place sites on application servers, and this is an invitation of a proxy", catalog.ErrInvalid)
	}
	if labels, err = validLabels(labels); err != nil {
		return catalog.Invite{}, "", err
	}
	secret := ids.NewInstance()
	hash := sha256.Sum256([]byte(secret))
	i = catalog.Invite{ID: ids.New(now), Hash: hash[:], Role: role, Expires: now.Add(ttl).UTC(), By: by, Created: now.UTC(), Labels: labels}
	return i, i.ID + "." + secret, nil
}

// CreateInvite stores an invitation, and forgets those that ended a week ago.
func CreateInvite(tx *catalog.Tx, i catalog.Invite, now time.Time) error {
	open := 0
	for id, old := range tx.View().Invites {
		switch {
		case now.Sub(old.Expires) > inviteMemory:
			tx.DeleteInvite(id)
		case old.UsedBy == "" && now.Before(old.Expires):
			open++
		}
	}
	if open >= maxInvites {
		return fmt.Errorf("%w: %d invitations are open, delete some first", catalog.ErrConflict, open)
	}
	return tx.PutInvite(i)
}

// RedeemInvite uses an invitation's code up for a member, or returns ErrInvite.
// It takes the same time whether the code is wrong, used or unknown.
func RedeemInvite(tx *catalog.Tx, code, member string, role catalog.Role, now time.Time) (catalog.Invite, error) {
	id, secret, _ := strings.Cut(strings.TrimSpace(code), ".")
	if len(id) != inviteIDLength || ids.Valid("invite", id) != nil {
		id = strings.Repeat("0", inviteIDLength)
	}
	i, err := tx.Invite(id)
	if err != nil {
		i = catalog.Invite{Hash: make([]byte, sha256.Size)}
	}
	hash := sha256.Sum256([]byte(secret))
	right := subtle.ConstantTimeCompare(hash[:], i.Hash) == 1
	if err != nil || !right || i.UsedBy != "" || !now.Before(i.Expires) {
		return catalog.Invite{}, ErrInvite
	}
	if i.Role != role {
		return catalog.Invite{}, fmt.Errorf("%w: it was made for role %q, this machine is %q", ErrInvite, i.Role, role)
	}
	i.UsedBy, i.UsedAt = member, now.UTC()
	return i, tx.PutInvite(i)
}
