package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// The names of the cluster's shared keys among the secrets.
const (
	SecretSession = "session" // JSON list of SessionKey: the first seals cookies, the first two open them
	SecretGossip  = "gossip"  // JSON list of 32-byte keys: the first encrypts
)

// SessionKey seals the session cookies.
type SessionKey struct {
	ID      uint8     `json:"id"` // stands in each cookie that it sealed
	Key     []byte    `json:"key"`
	Created time.Time `json:"created"`
}

const (
	keyLength      = 32
	validKeys      = 2                // session keys that open cookies
	sessionKeyRest = 10 * time.Minute // two rotations within would end the sessions of those who did not come back in between
)

// SessionKeys returns the session keys, newest first; none before the first
// RotateSessionKey.
func (c *Catalog) SessionKeys() ([]SessionKey, error) {
	return sharedKeys[SessionKey](c.Secret(SecretSession))
}

// GossipKeys returns the gossip keys, the primary first; none before the first
// RotateGossipKey.
func (c *Catalog) GossipKeys() ([][]byte, error) {
	return sharedKeys[[]byte](c.Secret(SecretGossip))
}

func sharedKeys[T any](data []byte, err error) ([]T, error) {
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var keys []T
	if err := json.Unmarshal(data, &keys); err != nil {
		return nil, fmt.Errorf("%w: shared keys: %w", ErrCorrupt, err)
	}
	return keys, nil
}

// RotateSessionKey puts a fresh random key in front: it seals from now on, the
// one before it still opens, older ones do not. With no keys yet it stores the
// first. Within ten minutes of the last rotation it is refused with ErrConflict.
func RotateSessionKey(tx *Tx, fresh []byte, now time.Time) error {
	if len(fresh) != keyLength {
		return fmt.Errorf("%w: a session key has %d bytes, not %d", ErrInvalid, keyLength, len(fresh))
	}
	keys, err := sharedKeys[SessionKey](tx.Secret(SecretSession))
	if err != nil {
		return err
	}
	next := SessionKey{ID: 1, Key: fresh, Created: now.UTC()}
	if len(keys) > 0 {
		next.ID = keys[0].ID + 1
		if rest := sessionKeyRest - now.Sub(keys[0].Created); len(keys) > 1 && rest > 0 {
			return fmt.Errorf("%w: the session key was changed at %s; wait %s, so that visitors in between keep their sessions", ErrConflict, keys[0].Created.Format(time.RFC3339), rest.Round(time.Second))
		}
	}
	keys = append([]SessionKey{next}, keys...)
	data, err := json.Marshal(keys[:min(len(keys), validKeys)])
	if err != nil {
		return err
	}
	return tx.PutSecret(SecretSession, data)
}

// RotateGossipKey puts a fresh random key in front of the gossip keys and keeps the
// one before it, with which members that have not heard of the change still speak. DropGossipKeys
// ends that.
func RotateGossipKey(tx *Tx, fresh []byte) error {
	if len(fresh) != keyLength {
		return fmt.Errorf("%w: a gossip key has %d bytes, not %d", ErrInvalid, keyLength, len(fresh))
	}
	keys, err := sharedKeys[[]byte](tx.Secret(SecretGossip))
	if err != nil {
		return err
	}
	for _, k := range keys {
		if bytes.Equal(k, fresh) {
			return fmt.Errorf("%w: this gossip key is in use already", ErrConflict)
		}
	}
	keys = append([][]byte{fresh}, keys...)
	return putGossip(tx, keys[:min(len(keys), 2)])
}

// DropGossipKeys leaves only the primary gossip key, so that a revoked member's
// opens nothing.
func DropGossipKeys(tx *Tx) error {
	keys, err := sharedKeys[[]byte](tx.Secret(SecretGossip))
	if err != nil || len(keys) < 2 {
		return err
	}
	return putGossip(tx, keys[:1])
}

func putGossip(tx *Tx, keys [][]byte) error {
	data, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	return tx.PutSecret(SecretGossip, data)
}
