package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"portico/membership/catalog"
)

// The names of the cluster's shared keys among the secrets.
const (
	SecretSession = "session" // JSON list of SessionKey, newest first
	SecretGossip  = "gossip"  // JSON list of 32-byte keys: the first encrypts
)

// SessionKey seals the session cookies from one moment on, and opens them until another.
// A key is made before it is first used, so that no proxy gets a cookie that it cannot
// open.
type SessionKey struct {
	ID      uint8     `json:"id"` // stands in each cookie that it sealed
	Key     []byte    `json:"key"`
	Created time.Time `json:"created"`
	From    time.Time `json:"from,omitzero"`  // it seals from here on, until the next one does; zero: from the beginning
	Until   time.Time `json:"until,omitzero"` // it opens nothing from here on; zero: as long as it seals, and longer
}

const (
	keyLength = 32

	// sessionKeyLead is the time between a session key's making and its first use. A proxy that
	// does not hear of the key within it will refuse what others seal.
	sessionKeyLead = 10 * time.Minute

	// The key before opens cookies for one and a quarter of the longest idle time of a
	// site, as long as a cookie can be of use; within these bounds. The lower one is for
	// sites of configuration files, which the catalog does not know.
	sessionKeyLeast = 24 * time.Hour
	sessionKeyMost  = 30 * 24 * time.Hour
)

// Secrets are where the cluster's keys are read: the catalog, or a change of it.
type Secrets interface {
	Secret(name string) ([]byte, error)
}

// SessionKeys returns the session keys, newest first; none before the first
// RotateSessionKey. The newest may not have begun to seal.
func SessionKeys(in Secrets) ([]SessionKey, error) {
	return sharedKeys[SessionKey](in.Secret(SecretSession))
}

// GossipKeys returns the gossip keys, the primary first; none before the first
// RotateGossipKey.
func GossipKeys(in Secrets) ([][]byte, error) {
	return sharedKeys[[]byte](in.Secret(SecretGossip))
}

func sharedKeys[T any](data []byte, err error) ([]T, error) {
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var keys []T
	if err := json.Unmarshal(data, &keys); err != nil {
		return nil, fmt.Errorf("%w: shared keys: %w", catalog.ErrCorrupt, err)
	}
	return keys, nil
}

// RotateSessionKey adds a fresh random key. It seals ten minutes later; the one before it
// still opens for as long as any cookie of its can be of use, at least a day. With no keys
// yet it stores the first, which seals at once. It is refused with ErrConflict while
// two keys are valid: a third would end the sessions of those who did not come back
// in between.
func RotateSessionKey(tx *catalog.Tx, fresh []byte, now time.Time) error {
	if len(fresh) != keyLength {
		return fmt.Errorf("%w: a session key has %d bytes, not %d", catalog.ErrInvalid, keyLength, len(fresh))
	}
	keys, err := SessionKeys(tx)
	if err != nil {
		return err
	}
	next := SessionKey{ID: 1, Key: fresh, Created: now.UTC()}
	if len(keys) == 0 {
		return putSession(tx, next)
	}
	keep := sessionKeyKeep(tx)
	last := keys[0]
	if now.Before(last.From) {
		return fmt.Errorf("%w: a fresh session key is known already; it seals from %s on", catalog.ErrConflict, last.From.Format(time.RFC3339))
	}
	if len(keys) > 1 {
		until := keys[1].Until
		if until.IsZero() { // of a list that an earlier version made
			until = last.Created.Add(keep)
		}
		if now.Before(until) {
			return fmt.Errorf("%w: the session key was changed at %s, and visitors still bring cookies of the one before; wait until %s, so that they keep their sessions",
				catalog.ErrConflict, last.Created.Format(time.RFC3339), until.Format(time.RFC3339))
		}
	}
	next.ID, next.From = last.ID+1, next.Created.Add(sessionKeyLead)
	last.Until = next.From.Add(keep)
	return putSession(tx, next, last)
}

// sessionKeyKeep is how long a key opens cookies after it has sealed the last one.
func sessionKeyKeep(tx *catalog.Tx) time.Duration {
	keep := sessionKeyLeast
	for _, site := range tx.Sites() {
		if set, err := site.Effective(); err == nil {
			keep = max(keep, set.Session.Idle.Std()/4*5+sessionKeyLead)
		}
	}
	return min(keep, sessionKeyMost)
}

func putSession(tx *catalog.Tx, keys ...SessionKey) error {
	data, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	return tx.PutSecret(SecretSession, data)
}

// RotateGossipKey puts a fresh random key in front of the gossip keys and keeps the
// one before it, with which members that have not heard of the change still speak. DropGossipKeys
// ends that.
func RotateGossipKey(tx *catalog.Tx, fresh []byte) error {
	if len(fresh) != keyLength {
		return fmt.Errorf("%w: a gossip key has %d bytes, not %d", catalog.ErrInvalid, keyLength, len(fresh))
	}
	keys, err := GossipKeys(tx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if bytes.Equal(k, fresh) {
			return fmt.Errorf("%w: this gossip key is in use already", catalog.ErrConflict)
		}
	}
	keys = append([][]byte{fresh}, keys...)
	return putGossip(tx, keys[:min(len(keys), 2)])
}

// DropGossipKeys leaves only the primary gossip key, so that a revoked member's
// opens nothing.
func DropGossipKeys(tx *catalog.Tx) error {
	keys, err := GossipKeys(tx)
	if err != nil || len(keys) < 2 {
		return err
	}
	return putGossip(tx, keys[:1])
}

func putGossip(tx *catalog.Tx, keys [][]byte) error {
	data, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	return tx.PutSecret(SecretGossip, data)
}
