package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"strings"
	"time"

	"portico/membership/catalog"
)

var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// randomText returns n random bytes in lower-case base32.
func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return tokenEncoding.EncodeToString(b)
}

// NewToken makes a bearer token for account. The text "ID.SECRET" is all that
// ever shows the secret: the record keeps its SHA-256, which is enough for 256
// random bits. A zero expires means never.
func NewToken(account, label string, now, expires time.Time) (text string, record catalog.Token) {
	id, secret := randomText(10), randomText(32)
	hash := sha256.Sum256([]byte(secret))
	return id + "." + secret, catalog.Token{
		ID: id, Hash: hash[:], Account: account, Label: label, Created: now, Expires: expires,
	}
}

// checkToken returns the record that text opens. Unknown ids cost the same
// comparison as known ones.
func checkToken(tokens map[string]*catalog.Token, text string, now time.Time) (*catalog.Token, bool) {
	id, secret, found := strings.Cut(text, ".")
	if !found || len(text) > 256 {
		return nil, false
	}
	sum := sha256.Sum256([]byte(secret))
	record, known := tokens[id]
	want := sum[:0:0]
	if known {
		want = record.Hash
	} else {
		want = append(want, make([]byte, sha256.Size)...)
	}
	match := subtle.ConstantTimeCompare(sum[:], want) == 1
	if !known || !match || (!record.Expires.IsZero() && now.After(record.Expires)) {
		return nil, false
	}
	return record, true
}

// bearerFrom returns the token of an Authorization field: as Bearer, or as the
// password of Basic, which is what tools made for HAProxy's page can send.
// basic reports the latter: browsers send it by themselves, so it must not
// change anything.
func bearerFrom(authorization string, basicPassword string, hasBasic bool) (token string, basic bool) {
	if scheme, rest, ok := strings.Cut(authorization, " "); ok && strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(rest), false
	}
	if hasBasic {
		return basicPassword, true
	}
	return "", false
}
