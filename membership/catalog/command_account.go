package catalog

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Bounds of accounts.
const (
	maxAccounts = 1000
	maxTokens   = 1000 // of one account
)

// ErrToken reports a bearer token that opens nothing.
var ErrToken = errors.New("the token is wrong, expired or revoked")

// Rank orders the roles: each includes those of a lower rank. An unknown role has
// rank 0 and may do nothing.
func (r AccountRole) Rank() int {
	return slices.Index([]AccountRole{"", RoleViewer, RoleDeployer, RoleOperator, RoleAdmin}, r)
}

// CreateAccount stores a new account, or returns ErrExists.
func CreateAccount(tx *Tx, a Account, now time.Time) error {
	if _, err := tx.Account(a.Name); !errors.Is(err, ErrNotFound) {
		return errors.Join(err, fmt.Errorf("account %q %w", a.Name, ErrExists))
	}
	if len(tx.Accounts()) >= maxAccounts {
		return fmt.Errorf("%w: there are %d accounts, remove some first", ErrConflict, maxAccounts)
	}
	a.Created = now.UTC()
	return putAccount(tx, a)
}

// ChangeAccount changes an account through change. It refuses to leave the
// cluster without an enabled administrator. Disabling an account or
// changing its password ends its tokens.
func ChangeAccount(tx *Tx, name string, change func(a *Account) error) (Account, error) {
	a, err := tx.Account(name)
	if err != nil {
		return Account{}, err
	}
	password, disabled, role := a.Password, a.Disabled, a.Role
	if err := change(&a); err != nil {
		return Account{}, err
	}
	a.Name = name
	if role == RoleAdmin && !disabled && (a.Role != RoleAdmin || a.Disabled) {
		if err := keepAdministrator(tx, name); err != nil {
			return Account{}, err
		}
	}
	if a.Password != password || a.Disabled {
		dropTokens(tx, name)
	}
	return a, putAccount(tx, a)
}

func putAccount(tx *Tx, a Account) error {
	if a.Role.Rank() <= 0 {
		return fmt.Errorf("%w: role %.40q of account %q; it is viewer, deployer, operator or admin", ErrInvalid, a.Role, a.Name)
	}
	for _, s := range a.Sites {
		if err := ValidName("site", s); err != nil {
			return err
		}
	}
	return tx.PutAccount(a)
}

// RemoveAccount removes an account and its tokens. The last enabled administrator
// cannot be removed.
func RemoveAccount(tx *Tx, name string) error {
	a, err := tx.Account(name)
	if err != nil {
		return err
	}
	if a.Role == RoleAdmin && !a.Disabled {
		if err := keepAdministrator(tx, name); err != nil {
			return err
		}
	}
	dropTokens(tx, name)
	tx.DeleteAccount(name)
	return nil
}

func keepAdministrator(tx *Tx, name string) error {
	for _, a := range tx.Accounts() {
		if a.Name != name && a.Role == RoleAdmin && !a.Disabled {
			return nil
		}
	}
	return fmt.Errorf("%w: %q is the last administrator; make another one first", ErrConflict, name)
}

func dropTokens(tx *Tx, account string) {
	for _, t := range tx.Tokens() {
		if t.Account == account {
			tx.DeleteToken(t.ID)
		}
	}
}

// NewToken makes a bearer token of an account and its plain text, which is shown
// once and never stored. Ttl 0 means that it does not expire.
func NewToken(account, label string, ttl time.Duration, now time.Time) (t Token, plain string) {
	secret := NewInstanceID() + NewInstanceID()
	hash := sha256.Sum256([]byte(secret))
	t = Token{ID: NewID(now), Hash: hash[:], Account: account, Label: trim(label, 100), Created: now.UTC()}
	if ttl > 0 {
		t.Expires = now.Add(ttl).UTC()
	}
	return t, t.ID + "." + secret
}

// LocalAccount is the account of the commands that are run on a proxy's own machine.
const LocalAccount = "local"

// LocalTokenLabel is the label of the token that a proxy leaves for local commands.
// It ends with that proxy's membership.
func LocalTokenLabel(proxy string) string { return "client.json of " + proxy }

// dropLocalToken takes away what a machine that was a proxy could still command with.
func dropLocalToken(tx *Tx, proxy string) {
	for _, id := range slices.Sorted(maps.Keys(tx.view.Tokens)) {
		if t := tx.view.Tokens[id]; t.Account == LocalAccount && t.Label == LocalTokenLabel(proxy) {
			tx.DeleteToken(id)
		}
	}
}

// CreateToken stores a token of an enabled account, and forgets that account's
// expired ones.
func CreateToken(tx *Tx, t Token, now time.Time) error {
	a, err := tx.Account(t.Account)
	if err != nil {
		return err
	}
	if a.Disabled {
		return fmt.Errorf("%w: account %q is disabled", ErrConflict, a.Name)
	}
	n := 0
	for id, old := range tx.view.Tokens {
		switch {
		case old.Account != t.Account:
		case old.expired(now):
			tx.DeleteToken(id)
		default:
			n++
		}
	}
	if n >= maxTokens {
		return fmt.Errorf("%w: account %q has %d tokens, revoke some first", ErrConflict, t.Account, n)
	}
	return tx.PutToken(t)
}

func (t *Token) expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// VerifyToken returns the account and the token that a bearer token's plain text
// stands for, or ErrToken. It compares in constant time and takes as long for an
// unknown token as for a wrong one.
func VerifyToken(v *View, plain string, now time.Time) (*Account, *Token, error) {
	id, secret, _ := strings.Cut(plain, ".")
	hash := sha256.Sum256([]byte(secret))
	t := v.Tokens[id]
	want := make([]byte, sha256.Size)
	if t != nil {
		want = t.Hash
	}
	right := subtle.ConstantTimeCompare(hash[:], want) == 1
	if t == nil || !right || t.expired(now) {
		return nil, nil, ErrToken
	}
	a := v.Accounts[t.Account]
	if a == nil || a.Disabled {
		return nil, nil, ErrToken
	}
	return a, t, nil
}
