package balancer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A cookie value is TOKEN|ISSUED|SEAL. SEAL is 30 bytes in base64url, which
// makes 40 characters without padding or spare bits: key id (1 byte), session id
// (8), start of the session in Unix seconds (5), and an AES-CMAC (16) of token
// (8 bytes, big endian), issue time (8), key id, session id, start, and two zero
// bytes. The CMAC's key is HMAC-SHA256(session key, "portico cookie 1\0" + site),
// so a cookie of one site means nothing to another.
const (
	sealLen   = 30
	sealText  = sealLen / 3 * 4
	maxIssued = 8 // base-36 digits: enough past the year 60000
	minCookie = tokenLen + 1 + 1 + 1 + sealText
	maxCookie = tokenLen + 1 + maxIssued + 1 + sealText

	// clockSkew is how far into the future an issue time may lie, in seconds, and count as it is.
	clockSkew = 300
)

// MaxCookieLen is the length of the longest sealed cookie value.
const MaxCookieLen = maxCookie

// Refusal says why a sticky cookie was not honoured. A refused cookie is never
// an error: its sender becomes a new visitor.
type Refusal uint8

// The refusals. Honoured is the zero value.
const (
	Honoured         Refusal = iota
	RefusedMalformed         // not of the form TOKEN or TOKEN|ISSUED|SEAL
	RefusedForged            // the MAC is wrong
	RefusedKey               // sealed with a key that is no longer valid
	RefusedToken             // no instance of this site has the token, or ever had
	RefusedIdle              // the session ended by not being used
	RefusedLife              // the session ended by its greatest age
	RefusedEnded             // an operator ended the session
	RefusedDuplicate         // several cookies of this name, and this was not the one used
	refusals
)

var refusalNames = [refusals]string{"", "malformed", "forged", "expired key", "unknown token", "idle", "life", "ended", "duplicate"}

// String returns the cause in a few words, or "" for Honoured.
func (r Refusal) String() string {
	if int(r) < len(refusalNames) {
		return refusalNames[r]
	}
	return "unknown"
}

// Refusals lists all causes, for whoever names a counter after each.
func Refusals() []Refusal {
	all := make([]Refusal, 0, refusals-1)
	for r := RefusedMalformed; r < refusals; r++ {
		all = append(all, r)
	}
	return all
}

// Cookie is what a sticky cookie says.
type Cookie struct {
	Token   Token
	Session uint64 // random id of the session; 0 in a bare token
	Issued  int64  // Unix seconds
	Start   int64  // of the session, Unix seconds
	Bare    bool   // TOKEN alone, as HAProxy sets it
	OldKey  bool   // sealed with the key that will go next
	Ahead   bool   // issued by a clock that is ahead, and taken for one of now
}

// Sealer seals and opens the cookies of one site. It is immutable and safe for
// concurrent use.
type Sealer struct {
	site string
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
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	s := &Sealer{site: site, n: min(len(keys), validKeys)}
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

// Open reads a cookie value and checks its seal. It does not judge age or
// whether the token is known. What it returns beside a refusal is not to be
// trusted.
func (s *Sealer) Open(value []byte) (Cookie, Refusal) {
	var c Cookie
	seal, refused := c.read(value)
	if refused == Honoured {
		refused = s.check(&c, &seal)
	}
	return c, refused
}

// read fills in what a cookie value claims, of which nothing is to be trusted before
// the seal has been checked. It refuses what has not the form of a cookie.
func (c *Cookie) read(value []byte) (seal, Refusal) {
	if len(value) == tokenLen {
		t, ok := ParseToken(value)
		if !ok {
			return seal{}, RefusedMalformed
		}
		c.Token, c.Bare = t, true
		return seal{}, Honoured
	}
	bar := len(value) - sealText - 1
	if len(value) < minCookie || len(value) > maxCookie || value[tokenLen] != '|' || value[bar] != '|' {
		return seal{}, RefusedMalformed
	}
	var ok1, ok2, ok3 bool
	var raw seal
	raw, c.Session, c.Start, ok1 = unseal((*[sealText]byte)(value[bar+1:]))
	c.Token, ok2 = ParseToken(value[:tokenLen])
	c.Issued, ok3 = parseBase36(value[tokenLen+1 : bar])
	if !ok1 || !ok2 || !ok3 {
		return seal{}, RefusedMalformed
	}
	return raw, Honoured
}

// check compares the seal of a cookie that was read. A bare token has none.
func (s *Sealer) check(c *Cookie, raw *seal) Refusal {
	if c.Bare {
		return Honoured
	}
	for i := range s.n {
		k := &s.keys[i]
		if k.id != raw.key {
			continue
		}
		if !k.sum(c).same(raw.mac) {
			return RefusedForged
		}
		c.OldKey = i > 0 && s.aged
		return Honoured
	}
	return RefusedKey
}

// Judge reports whether the session that an opened cookie speaks of still lives
// at now (Unix seconds), by the cookie alone. idle and life of zero mean no end.
//
// A cookie is issued anew once a quarter of idle has passed, so the last use is
// known to within that quarter, always in favour of the visitor: a session ends
// between idle and 1.25 × idle after its last use.
func (c *Cookie) Judge(now int64, idle, life time.Duration) Refusal {
	if c.Bare {
		return Honoured
	}
	if c.Start > c.Issued {
		return RefusedMalformed
	}
	if life > 0 && now-c.Start > int64(life/time.Second) {
		return RefusedLife
	}
	if idle > 0 && now-c.Issued > int64((idle+idle/4)/time.Second) {
		return RefusedIdle
	}
	return Honoured
}

// Stale reports whether the cookie should be issued anew at now (Unix seconds):
// a quarter of idle has passed since its issue, it is bare, its key is the
// older one, or its time is one to come.
func (c *Cookie) Stale(now int64, idle time.Duration) bool {
	return c.Bare || c.OldKey || c.Ahead || idle > 0 && now-c.Issued > int64(idle/4/time.Second)
}

const base36 = "0123456789abcdefghijklmnopqrstuvwxyz"

func appendBase36(dst []byte, v int64) []byte {
	var b [13]byte
	i := len(b)
	for {
		i--
		b[i] = base36[v%36]
		if v /= 36; v == 0 {
			return append(dst, b[i:]...)
		}
	}
}

// parseBase36 reads the canonical form only, without leading zeros, so that one
// cookie has one spelling.
func parseBase36(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > maxIssued || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var v int64
	var bad uint8
	for _, c := range b {
		d := decode36[c]
		bad |= d
		v = v*36 + int64(d)
	}
	return v, bad < 64
}
