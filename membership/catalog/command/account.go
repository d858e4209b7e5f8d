package command

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

// Bounds of accounts.
const (
	maxAccounts = 1000
	maxTokens   = 1000 // of one account

	maxTokenDepth = 8 // tokens that made one another
)

// ErrToken reports a bearer token that opens nothing.
var ErrToken = errors.New("the token is wrong, expired or revoked")

// CreateAccount stores a new account, or returns ErrExists.
func CreateAccount(tx *catalog.Tx, a catalog.Account, now time.Time) error {
	if _, err := tx.Account(a.Name); !errors.Is(err, catalog.ErrNotFound) {
		return errors.Join(err, fmt.Errorf("account %q %w", a.Name, catalog.ErrExists))
	}
	if len(tx.Accounts()) >= maxAccounts {
		return fmt.Errorf("%w: there are %d accounts, remove some first", catalog.ErrConflict, maxAccounts)
	}
	a.Created = now.UTC()
	return putAccount(tx, a)
}

// ChangeAccount changes an account through change. It refuses to leave the
// cluster without an enabled administrator. Disabling an account or
// changing its password ends its tokens.
func ChangeAccount(tx *catalog.Tx, name string, change func(a *catalog.Account) error) (catalog.Account, error) {
	a, err := tx.Account(name)
	if err != nil {
		return catalog.Account{}, err
	}
	password, disabled, role := a.Password, a.Disabled, a.Role
	if err := change(&a); err != nil {
		return catalog.Account{}, err
	}
	a.Name = name
	if role == catalog.RoleAdmin && !disabled && (a.Role != catalog.RoleAdmin || a.Disabled) {
		if err := keepAdministrator(tx, name); err != nil {
			return catalog.Account{}, err
		}
	}
	if a.Password != password || a.Disabled {
		dropTokens(tx, name)
	}
	return a, putAccount(tx, a)
}

func putAccount(tx *catalog.Tx, a catalog.Account) error {
	if a.Role.Rank() <= 0 {
		return fmt.Errorf("%w: role %.40q of account %q; it is viewer, deployer, operator or admin", catalog.ErrInvalid, a.Role, a.Name)
	}
	for _, s := range a.Sites {
		if err := sites.ValidName("site", s); err != nil {
			return err
		}
	}
	return tx.PutAccount(a)
}

// RemoveAccount removes an account and its tokens. The last enabled administrator
// cannot be removed.
func RemoveAccount(tx *catalog.Tx, name string) error {
	a, err := tx.Account(name)
	if err != nil {
		return err
	}
	if a.Role == catalog.RoleAdmin && !a.Disabled {
		if err := keepAdministrator(tx, name); err != nil {
			return err
		}
	}
	dropTokens(tx, name)
	tx.DeleteAccount(name)
	return nil
}

func keepAdministrator(tx *catalog.Tx, name string) error {
	for _, a := range tx.Accounts() {
		if a.Name != name && a.Role == catalog.RoleAdmin && !a.Disabled {
			return nil
		}
	}
	return fmt.Errorf("%w: %q is the last administrator; make another one first", catalog.ErrConflict, name)
}

func dropTokens(tx *catalog.Tx, account string) {
	for _, t := range tx.Tokens() {
		if t.Account == account {
			EndToken(tx, t.ID)
		}
	}
}

// EndToken takes a token away, and those that it made, and returns the ids of all.
func EndToken(tx *catalog.Tx, id string) []string {
	ended := []string{id}
	for i := 0; i < len(ended); i++ {
		tx.DeleteToken(ended[i])
		for _, t := range tx.Tokens() {
			if t.Parent == ended[i] {
				ended = append(ended, t.ID)
			}
		}
	}
	return ended
}

// ReplaceToken puts a fresh token in the place of an old one: what that one made lives on.
func ReplaceToken(tx *catalog.Tx, old, fresh string) error {
	for _, t := range tx.Tokens() {
		if t.Parent == old {
			t.Parent = fresh
			if err := tx.PutToken(t); err != nil {
				return err
			}
		}
	}
	tx.DeleteToken(old)
	return nil
}

// NewToken makes a bearer token of an account and its plain text, which is shown
// once and never stored. Ttl 0 means that it does not expire.
func NewToken(account, label string, ttl time.Duration, now time.Time) (t catalog.Token, plain string) {
	secret := ids.NewInstance() + ids.NewInstance()
	hash := sha256.Sum256([]byte(secret))
	t = catalog.Token{ID: ids.New(now), Hash: hash[:], Account: account, Label: trim(label, 100), Created: now.UTC()}
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
func dropLocalToken(tx *catalog.Tx, proxy string) {
	for _, id := range slices.Sorted(maps.Keys(tx.View().Tokens)) {
		if t := tx.View().Tokens[id]; t.Account == LocalAccount && t.Label == LocalTokenLabel(proxy) {
			EndToken(tx, id)
		}
	}
}

// CreateToken stores a token of an enabled account, and forgets that account's
// expired ones. A token that another one makes ends no later than that one, and is its
// account's own unless that is an administrator's: ErrConflict otherwise.
func CreateToken(tx *catalog.Tx, t catalog.Token, now time.Time) error {
	a, err := tx.Account(t.Account)
	if err != nil {
		return err
	}
	if a.Disabled {
		return fmt.Errorf("%w: account %q is disabled", catalog.ErrConflict, a.Name)
	}
	if err := checkParent(tx, t, now); err != nil {
		return err
	}
	n := 0
	for id, old := range tx.View().Tokens {
		switch {
		case old.Account != t.Account:
		case expired(old, now):
			tx.DeleteToken(id)
		default:
			n++
		}
	}
	if n >= maxTokens {
		return fmt.Errorf("%w: account %q has %d tokens, revoke some first", catalog.ErrConflict, t.Account, n)
	}
	return tx.PutToken(t)
}

func checkParent(tx *catalog.Tx, t catalog.Token, now time.Time) error {
	if t.Parent == "" {
		return nil
	}
	parent, err := tx.Token(t.Parent)
	if err != nil {
		return err
	}
	if _, err := tx.Account(parent.Account); err != nil {
		return err
	}
	if !parent.Expires.IsZero() && (t.Expires.IsZero() || t.Expires.After(parent.Expires)) {
		return fmt.Errorf("%w: the token that asks ends at %s, and none that it makes may last longer: ask for less, or with a token that does not end", catalog.ErrConflict, parent.Expires.UTC().Format(time.RFC3339))
	}
	if !holds(tx.View(), &t, now) {
		return fmt.Errorf("%w: the token that asks may make none for account %q, or has ended, or is one of more than %d that made one another", catalog.ErrConflict, t.Account, maxTokenDepth)
	}
	return nil
}

// holds reports whether a token and those that made it are still good: none has ended, every
// account is there, and whoever made one for another account is an administrator still.
func holds(v *catalog.View, t *catalog.Token, now time.Time) bool {
	for range maxTokenDepth {
		a := v.Accounts[t.Account]
		if a == nil || a.Disabled || expired(t, now) {
			return false
		}
		if t.Parent == "" {
			return true
		}
		parent := v.Tokens[t.Parent]
		if parent == nil {
			return false
		}
		if maker := v.Accounts[parent.Account]; parent.Account != t.Account && (maker == nil || maker.Role != catalog.RoleAdmin) {
			return false
		}
		t = parent
	}
	return false
}

func expired(t *catalog.Token, now time.Time) bool {
	return !t.Expires.IsZero() && !now.Before(t.Expires)
}

// VerifyToken returns the account and the token that a bearer token's plain text
// stands for, or ErrToken. A token is good while those that made it are: it ends with
// them, and with their accounts, and one that was made for another account ends when its
// maker is no administrator any more. It compares in constant time and takes as long for an
// unknown token as for a wrong one.
func VerifyToken(v *catalog.View, plain string, now time.Time) (*catalog.Account, *catalog.Token, error) {
	id, secret, _ := strings.Cut(plain, ".")
	hash := sha256.Sum256([]byte(secret))
	t := v.Tokens[id]
	want := make([]byte, sha256.Size)
	if t != nil {
		want = t.Hash
	}
	right := subtle.ConstantTimeCompare(hash[:], want) == 1
	if t == nil || !right || !holds(v, t, now) {
		return nil, nil, ErrToken
	}
	return v.Accounts[t.Account], t, nil
}

// StillGood returns the account that a token which was verified before stands for now, or
// nil when it opens nothing any more: see VerifyToken.
func StillGood(v *catalog.View, id string, now time.Time) *catalog.Account {
	t := v.Tokens[id]
	if t == nil || !holds(v, t, now) {
		return nil
	}
	return v.Accounts[t.Account]
}
