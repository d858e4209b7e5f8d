package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sealer seals and opens the cookies of one site. It is immutable and safe for
// concurrent use.
type Sealer struct {
	keys [validKeys]siteKey
	n    int
	aged bool // the second key is older than the first, not its successor
}

// siteKey is one session key as one site uses it.
type siteKey struct {
	id     uint8
	mac    *cmac
	ticket *cmac // of the waiting room
	secret []byte
}

// NewSealer returns the sealer of a site. The first key signs, the first two
// are valid, the rest is ignored.
func NewSealer(site string, keys []Key) (*Sealer, error) {
	if err := CheckKeys(keys); err != nil {
		return nil, err
	}
	s := &Sealer{n: min(len(keys), validKeys)}
	for i := range s.n {
		k := siteKey{id: keys[i].ID, secret: keys[i].Secret}
		var err1, err2 error
		k.mac, err1 = deriveCMAC(keys[i].Secret, "portico cookie 1\x00"+site)
		k.ticket, err2 = deriveCMAC(keys[i].Secret, "portico ticket 1\x00"+site)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("use session keys: %w", err)
		}
		s.keys[i] = k
	}
	s.aged = s.n > 1 && !keys[1].Created.After(keys[0].Created)
	return s, nil
}

// deriveCMAC returns the MAC whose key is HMAC-SHA256(secret, purpose).
func deriveCMAC(secret []byte, purpose string) (*cmac, error) {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(purpose))
	return newCMAC(h.Sum(nil))
}

// Token returns the token of an instance under the key that signs.
func (s *Sealer) Token(instanceID string) Token { return NewToken(s.keys[0].secret, instanceID) }

// Tokens returns the instance's token under each valid key, the signing one
// first. Without a second key both are the same.
func (s *Sealer) Tokens(instanceID string) [2]Token {
	t := s.Token(instanceID)
	if s.n < 2 {
		return [2]Token{t, t}
	}
	return [2]Token{t, NewToken(s.keys[1].secret, instanceID)}
}

// sum computes the MAC over everything in c.
func (k *siteKey) sum(c *Cookie) mac {
	return k.mac.sum(uint64(c.Token), uint64(c.Issued),
		uint64(k.id)<<56|c.Session>>8, c.Session<<56|uint64(c.Start)&(1<<40-1)<<16)
}

// Seal appends the cookie value for c to dst: Token, Session, Issued and Start
// are used, and the token must be one of the signing key.
func (s *Sealer) Seal(dst []byte, c Cookie) []byte {
	k := &s.keys[0]
	dst = c.Token.Append(dst)
	dst = append(dst, '|')
	dst = appendBase36(dst, c.Issued)
	dst = append(dst, '|')
	var space [sealLen]byte
	raw := binary.BigEndian.AppendUint64(append(space[:0], k.id), c.Session)
	raw = binary.BigEndian.AppendUint32(append(raw, byte(c.Start>>32)), uint32(c.Start))
	return base64.RawURLEncoding.AppendEncode(dst, k.sum(&c).append(raw))
}

// Check compares the seal of a cookie that was read. A bare token has none.
func (s *Sealer) Check(c *Cookie, p *Proof) Refusal {
	if c.Bare {
		return Honoured
	}
	for i := range s.n {
		k := &s.keys[i]
		if k.id != p.key {
			continue
		}
		if !k.sum(c).same(p.mac) {
			return RefusedForged
		}
		c.OldKey = i > 0 && s.aged
		return Honoured
	}
	return RefusedKey
}
