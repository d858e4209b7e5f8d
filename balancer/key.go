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

// validKeys is how many of the newest keys open cookies: one signs, the one
// before it is still honoured, so that a rotation ends no session that comes
// back before the next rotation.
const validKeys = 2

// Key is one of the cluster's session keys. All proxies share them.
type Key struct {
	ID      uint8     `json:"id"` // stands in each cookie that the key sealed
	Secret  []byte    `json:"key"`
	Created time.Time `json:"created"`
}

// NewKey makes a key from the system's random source. A rotation gives it the
// newest key's id plus one (it may wrap around) and puts it first.
func NewKey(id uint8, created time.Time) Key {
	k := Key{ID: id, Secret: make([]byte, keyLen), Created: created}
	rand.Read(k.Secret) // never fails, see crypto/rand
	return k
}

// RotateKeys returns keys with a fresh one in front and those dropped that no
// cookie can use any more. With no keys it returns the first one.
func RotateKeys(keys []Key, now time.Time) []Key {
	var id uint8 = 1
	if len(keys) > 0 {
		id = keys[0].ID + 1
	}
	out := append([]Key{NewKey(id, now)}, keys...)
	return out[:min(len(out), validKeys)]
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
