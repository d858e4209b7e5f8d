package balancer

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// keyLen is the length of a session key in bytes.
const keyLen = 32

// validKeys is how many keys open cookies; the first of them signs.
const validKeys = 2

// Key is one of the cluster's session keys. All proxies share them.
type Key struct {
	ID      uint8     `json:"id"` // stands in each cookie that the key sealed
	Secret  []byte    `json:"key"`
	Created time.Time `json:"created"`
}

// NewKey makes a key from the system's random source.
func NewKey(id uint8, created time.Time) Key {
	k := Key{ID: id, Secret: make([]byte, keyLen), Created: created}
	rand.Read(k.Secret) // never fails, see crypto/rand
	return k
}

// RotateKeys returns keys one step further. A rotation has two steps, because not
// all proxies learn of a key at the same moment: first a fresh key takes the
// second place, where it opens cookies and seals none; then, once every proxy has
// it, it changes places with the first. Steps further apart than a session's
// greatest idle time end no session. With no keys RotateKeys returns the first one.
func RotateKeys(keys []Key, now time.Time) []Key {
	switch {
	case len(keys) == 0:
		return []Key{NewKey(1, now)}
	case len(keys) > 1 && keys[1].Created.After(keys[0].Created):
		return []Key{keys[1], keys[0]}
	case len(keys) > 1:
		return []Key{keys[0], NewKey(max(keys[0].ID, keys[1].ID)+1, now)}
	}
	return []Key{keys[0], NewKey(keys[0].ID+1, now)}
}

// DecodeKeys reads the JSON form of a list of keys, newest first.
func DecodeKeys(data []byte) ([]Key, error) {
	var keys []Key
	if err := json.Unmarshal(data, &keys); err != nil {
		return nil, fmt.Errorf("decode session keys: %w", err)
	}
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	return keys, nil
}

// EncodeKeys writes keys in the form that DecodeKeys reads.
func EncodeKeys(keys []Key) ([]byte, error) {
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	return json.Marshal(keys)
}

var errNoKeys = errors.New("use session keys: there is none; the cluster makes one at its first start")

func checkKeys(keys []Key) error {
	if len(keys) == 0 {
		return errNoKeys
	}
	for i, k := range keys {
		if len(k.Secret) != keyLen {
			return fmt.Errorf("use session keys: key %d has %d bytes, want %d", k.ID, len(k.Secret), keyLen)
		}
		for _, other := range keys[:i] {
			if other.ID == k.ID {
				return fmt.Errorf("use session keys: two keys have id %d", k.ID)
			}
		}
	}
	return nil
}
