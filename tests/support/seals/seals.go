// Package seals makes for tests the keys that a cluster makes in its catalog, and reads what they sealed.
package seals

import (
	"crypto/rand"
	"time"

	"portico/balancer/seal"
)

// NewKey makes a key from the system's random source, which signs at once.
func NewKey(id uint8, created time.Time) seal.Key {
	k := seal.Key{ID: id, Secret: make([]byte, 32), Created: created}
	rand.Read(k.Secret) // never fails, see crypto/rand
	return k
}

// Open reads a cookie value and checks its seal. It does not judge age or
// whether the token is known. What it returns beside a refusal is not to be
// trusted.
func Open(s *seal.Sealer, value []byte) (seal.Cookie, seal.Refusal) {
	var c seal.Cookie
	proof, refused := c.Read(value)
	if refused == seal.Honoured {
		refused = s.Check(&c, &proof)
	}
	return c, refused
}
