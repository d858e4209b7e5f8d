package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// keyLen is the length of a session key in bytes.
const keyLen = 32

// validKeys is how many keys open cookies at a time; the first of them signs.
const validKeys = 2

// Key is one of the cluster's session keys. All proxies share them. A key is known
// before it signs: between its making and From it only opens, so that no proxy gets a
// cookie that it cannot read, however late it has heard of the key.
type Key struct {
	ID      uint8     `json:"id"` // stands in each cookie that the key sealed
	Secret  []byte    `json:"key"`
	Created time.Time `json:"created"`
	From    time.Time `json:"from,omitzero"`  // it signs from here on, until a later one does; zero: at once
	Until   time.Time `json:"until,omitzero"` // it opens nothing from here on; zero: as long as it is listed
}

// Arrange returns what keys, newest first, are at now (Unix milliseconds): the one that
// signs, then the others that open, newest first. There is always one that signs.
func Arrange(keys []Key, now int64) []Key {
	at := time.UnixMilli(now)
	var open []Key
	for _, k := range keys {
		if k.Until.IsZero() || at.Before(k.Until) {
			open = append(open, k)
		}
	}
	if len(open) == 0 {
		return keys[:1] // better an old key than none
	}
	signs := len(open) - 1 // a clock that is behind: the oldest is what others still know
	for i, k := range open {
		if !at.Before(k.From) && (at.Before(open[signs].From) || i < signs && !k.From.Before(open[signs].From)) {
			signs = i
		}
	}
	out := append(make([]Key, 0, len(open)), open[signs])
	out = append(append(out, open[:signs]...), open[signs+1:]...)
	return out[:min(len(out), validKeys)]
}

// SameKeys reports whether two arrangements are the same.
func SameKeys(a, b []Key) bool {
	return slices.EqualFunc(a, b, func(x, y Key) bool { return x.ID == y.ID && bytes.Equal(x.Secret, y.Secret) })
}

// DecodeKeys reads the JSON form of a list of keys, newest first.
func DecodeKeys(data []byte) ([]Key, error) {
	var keys []Key
	if err := json.Unmarshal(data, &keys); err != nil {
		return nil, fmt.Errorf("decode session keys: %w", err)
	}
	if err := CheckKeys(keys); err != nil {
		return nil, err
	}
	return keys, nil
}

var errNoKeys = errors.New("use session keys: there is none; the cluster makes one at its first start")

// CheckKeys reports what is wrong with a list of session keys.
func CheckKeys(keys []Key) error {
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
