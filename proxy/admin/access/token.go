package access

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// randomText returns n random bytes in lower-case base32.
func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return tokenEncoding.EncodeToString(b)
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
